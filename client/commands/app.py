"""The command line put together."""

import typer

from client.commands import (
    checkpoints,
    datasets,
    experiments,
    jobs,
    lab,
    nodes,
    output,
    people,
    quotas,
    results,
    service,
    simulation,
    verbs,
    webhooks,
)

app = typer.Typer(
    name="cmac",
    help="The lab's queue for video-audio self-supervised learning: start it, submit jobs, read results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
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
app.command()(output.logs)
app.command()(output.events)
app.command()(output.metrics)
app.command()(results.results)
app.command()(results.attention)
app.command()(lab.nodes)
app.command()(lab.queue)
app.command()(lab.audit)
app.command()(simulation.simulate)
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
