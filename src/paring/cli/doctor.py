"""`paring doctor`: what works on this machine."""

import typer


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def doctor() -> None:
        """Check Python, packages, runtimes, data and disk. Exits with 1 if something installed does not work."""
        from paring import doctor as examination

        findings = examination.examine()
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state.mark} {finding.subject:<{width}}  {finding.told}")
        if any(finding.state is examination.State.BROKEN for finding in findings):
            raise typer.Exit(1)
