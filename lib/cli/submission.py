"""Commands that are one operation: from the words to the job and back."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.cli import follow, results, select
from ganeti.cli.session import Session
from ganeti.ops import base
from ganeti.ops.base import Cli, Declaration
from ganeti.ops.verbs import Call
from ganeti.ops.verbs import Session as AnySession


def run(session: AnySession, call: Call, declaration: Declaration, *, second_question: str = "") -> int:
    """Exit code. Raises errors.*. A second question is asked like the operation's own, after it."""
    assert isinstance(session, Session), session
    cli = declaration.cli
    assert cli is not None, declaration
    _check_something_given(cli, call)
    if cli.many:
        return _run_many(session, call, cli)
    questions = [text.format(**call.form) for text in (cli.confirm, second_question) if text]
    if not call.given("force") and not all(session.confirm(question) for question in questions):
        return 1
    form = checked(call.form)
    answer = session.run_job([form], when_drained=cli.when_drained and call.given("yes_do_it"))
    if answer is None:
        return 0
    return results.tell(session, form, answer[0])


def checked(form: dict[str, Any]) -> dict[str, Any]:
    """The wire form, defaults left out. Raises PrereqError(wrong_input) before anything is sent."""
    return base.encode(base.decode(form))


def _check_something_given(cli: Cli, call: Call) -> None:
    target = {"OP_ID", "force", *cli.positional}
    if cli.needs_option and not set(call.form) - target:
        raise errors.PrereqError("wrong_input", "nothing to change", hint="give at least one option; --help lists them")


def _run_many(session: Session, call: Call, cli: Cli) -> int:
    names, is_selection = select.instances(session, call) if cli.selectors else (list(call.arguments), False)
    if not names:
        session.note("No instances match the selection.")
        return 0
    is_several = is_selection or len(names) > 1
    is_sure = True
    if cli.selectors and is_several and not call.given("force_multiple"):
        is_sure = session.confirm_many(names, cli.verb, warning=cli.warning)
    elif cli.confirm and not is_several and not call.given("force"):
        is_sure = session.confirm(cli.confirm.format(**{cli.many: names[0]}))
    if not is_sure:
        return 1
    forms = [(name, checked({**call.form, cli.many: name})) for name in names]
    jobs = session.submit_many([(name, [session.stamp(form)]) for name, form in forms])
    if call.given("submit"):
        return tell_submitted(session, jobs)
    if len(jobs) == 1 and jobs[0].job is not None:
        answer = follow.wait(session, jobs[0].job)
        return results.tell(session, forms[0][1], answer[0])
    outcomes = follow.wait_all(session, jobs)
    return 1 if any(outcome.error for outcome in outcomes) else 0


def tell_submitted(session: Session, jobs: list[follow.Submitted]) -> int:
    for item in jobs:
        if item.job is None:
            session.note(f"Failed to submit job for {item.name}: {item.why}")
        else:
            session.out(f"{item.job}: {item.name}")
    return 1 if any(item.job is None for item in jobs) else 0
