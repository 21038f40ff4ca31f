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
app.add_typer(lab.key, name="key")
app.add_typer(quotas.quota, name="quota")
app.add_typer(people.project, name="project")
app.add_typer(people.user, name="user")
app.add_typer(nodes.node, name="node")
app.add_typer(webhooks.webhook, name="webhook")
