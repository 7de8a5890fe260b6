"""A master that answers from a table, and requests to the resources without a network."""

import asyncio

import msgspec
import simplejson

from ganeti.rapi import catalogue
from ganeti.rapi.ask import Ask, Query
from ganeti.rapi.failures import HttpFailure

TABLE = catalogue.table()


class Master:
    """Any: `answers` has for each method a value, an exception or a function of the arguments."""

    def __init__(self, **answers):
        self.answers = {"SubmitJob": 17, **answers}
        self.calls = []

    async def call(self, method, *args, key=None):
        self.calls.append((method, *args, *([key] if key is not None else [])))
        found = self.answers[method]
        if isinstance(found, Exception):
            raise found
        return found(*args) if callable(found) else found

    async def call_raw(self, method, *args, key=None):
        return msgspec.Raw(msgspec.json.encode(await self.call(method, *args, key=key)))

    @property
    def forms(self):
        """Operations of the last submission, without what says who asked."""
        (ops,) = [call[1] for call in self.calls if call[0] == "SubmitJob"][-1:]
        return [{name: value for name, value in op.items() if name != "reason"} for op in ops]


def ask(master, method, path, query=(), body=msgspec.UNSET, **more):
    """The value that a request is answered with. Raises what it fails with."""
    return simplejson.loads(answer(master, method, path, query, body, **more).text)


def answer(master, method, path, query=(), body=msgspec.UNSET, **more):
    route, words = TABLE.find(method, path)
    wanted = Ask(
        path=words,
        query=Query(list(query)),
        body=body,
        luxi=master,
        now_ns=5,
        resource=route.name,
        is_about_cluster=route.takes_expected and not words,
        **more,
    )
    return asyncio.run(route.run(wanted))


def failure(master, method, path, query=(), body=msgspec.UNSET, **more):
    """(status, message) of a request that is refused."""
    try:
        answer(master, method, path, query, body, **more)
    except HttpFailure as err:
        return err.status, err.message
    raise AssertionError(f"{method} {path} was answered")
