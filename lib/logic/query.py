"""OP_QUERY, OP_QUERY_FIELDS, OP_CLUSTER_QUERY, OP_CLUSTER_CONFIG_QUERY, OP_EXT_STORAGE_DIAGNOSE."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.ops.os import OpExtStorageDiagnose
from ganeti.ops.query import OpClusterConfigQuery, OpClusterQuery, OpQuery, OpQueryFields

Answer = dict[str, Any]  # Any: JSON


async def _asked(env: Env, what: str, fields: tuple[str, ...], qfilter: list[Any] | None) -> Answer:
    try:
        return await env.questions.query(what, fields, qfilter)
    except errors.ParameterError as err:
        raise errors.PrereqError("wrong_input", str(err), hint=err.hint) from err


@implements(OpQuery)
class AnswerQuery(LogicalUnit[OpQuery, Answer]):
    async def check(self, env: Env) -> Answer:
        return await _asked(env, self.op.what, self.op.fields, self.op.qfilter)

    def result(self, facts: Answer) -> Answer:
        return facts


@implements(OpQueryFields)
class DescribeFields(LogicalUnit[OpQueryFields, Answer]):
    async def check(self, env: Env) -> Answer:
        return env.questions.query_fields(self.op.what, self.op.fields)

    def result(self, facts: Answer) -> Answer:
        return facts


@implements(OpExtStorageDiagnose)
class DiagnoseExtStorage(LogicalUnit[OpExtStorageDiagnose, list[list[Any]]]):
    async def check(self, env: Env) -> list[list[Any]]:
        known = [field["name"] for field in env.questions.query_fields("extstorage", None)["fields"]]
        unknown = [name for name in self.op.output_fields if name not in known]
        if unknown:
            raise errors.PrereqError(
                "wrong_input", f"there is no field {unknown[0]!r}", hint="there are " + ", ".join(known)
            )
        wanted = ["|", *(["==", "name", name] for name in self.op.names)] if self.op.names else None
        answer = await _asked(env, "extstorage", self.op.output_fields, wanted)
        return [[value for _, value in row] for row in answer["data"]]

    def result(self, facts: list[list[Any]]) -> list[list[Any]]:
        return facts


@implements(OpClusterQuery)
class DescribeCluster(LogicalUnit[OpClusterQuery, Answer]):
    async def check(self, env: Env) -> Answer:
        return env.questions.cluster_info()

    def result(self, facts: Answer) -> Answer:
        return facts


@implements(OpClusterConfigQuery)
class TellConfigValues(LogicalUnit[OpClusterConfigQuery, list[Any]]):
    async def check(self, env: Env) -> list[Any]:
        known = env.questions.config_value_names()
        unknown = [name for name in self.op.output_fields if name not in known]
        if unknown:
            raise errors.PrereqError(
                "wrong_input", f"there is no value {unknown[0]!r}", hint="there are " + ", ".join(known)
            )
        return env.questions.config_values(self.op.output_fields)

    def result(self, facts: list[Any]) -> list[Any]:
        return facts
