"""The command line put together."""

import typer

from client.commands import (
    artifacts,
    attempts,
    attention,
    browse,
    checkpoints,
    datasets,
    diff,
    experiments,
    export,
    identity,
    jobs,
    lab,
    nodes,
    output,
    people,
    pull,
    quotas,
    results,
    service,
    simulation,
    top,
    values,
    verbs,
    webhooks,
)

EPILOG = (
    "Exit codes: 0 ok; 1 a job failed or was cancelled, a delivery did not arrive, or a question was answered with no; "
    "2 bad input; 3 no access; 4 the service is away; 70 a mistake of ours; 130 interrupted. "
    "With --json standard output is one JSON document, what goes wrong is one on standard error, "
    "and what is followed (-f) is one object a line."
)
app = typer.Typer(
    name="cmac",
    help="The lab's queue for video-audio self-supervised learning: start it, submit jobs, read results.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(service.up)
app.command()(service.down)
app.command()(service.status)
app.command()(service.backup)
app.command()(service.restore)
app.command()(service.demo)
app.command()(jobs.submit)
app.command("jobs")(jobs.list_jobs)
app.command()(jobs.show)
app.command()(jobs.why)
app.command()(jobs.wait)
app.command()(jobs.cancel)
app.command()(jobs.delete)
app.command()(verbs.pause)
app.command()(verbs.resume)
app.command()(verbs.hold)
app.command()(verbs.release)
app.command("set")(verbs.change)
app.command()(jobs.retry)
app.command("experiments")(experiments.list_experiments)
app.command("table")(experiments.show_table)
app.command()(attempts.attempts)
app.command()(output.logs)
app.command()(output.events)
app.command()(output.metrics)
app.command()(results.results)
app.command()(values.values)
app.command()(diff.diff)
app.command()(pull.pull)
app.command()(lab.nodes)
app.command()(lab.queue)
app.command()(top.top)
app.command()(lab.audit)
app.command()(simulation.simulate)
app.command()(identity.whoami)
app.command()(identity.version)
app.command("open")(browse.open_page)
app.add_typer(attention.attention, name="attention")
app.add_typer(artifacts.artifact, name="artifact")
app.add_typer(export.export, name="export")
app.add_typer(datasets.dataset, name="dataset")
app.add_typer(datasets.root, name="root")
app.add_typer(checkpoints.checkpoint, name="checkpoint")
# What operators and admins do, also under one name.
admin = typer.Typer(help="Run the lab: machines, quotas, keys, people, disk, deletion.", no_args_is_help=True)
for name, group in {
    "node": nodes.node,
    "quota": quotas.quota,
    "key": lab.key,
    "project": people.project,
    "user": people.user,
    "webhook": webhooks.webhook,
}.items():
    app.add_typer(group, name=name)
    admin.add_typer(group, name=name)
admin.command()(jobs.delete)
admin.command()(lab.audit)
app.add_typer(admin, name="admin")
