"""Errors in OpenAI's envelope, and bodies whose every fault is one of them.

What asks for something that is not implemented is a 400, never ignored. Source: OpenAI API reference (2026).
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

UNSERVED = "unserved"  # the fault of a parameter that asks for what is not implemented
_BRANCHES = frozenset({"str", "int", "float", "bool", "json_schema_format", "text", "json_object"})


class ApiError(Exception):
    """An answer that is an error. `retry_after_s` becomes the header of that name."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The envelope."""
        kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "service_unavailable"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


Body = TypeVar("Body", bound=BaseModel)
_MOST_FAULTS = 100  # to describe each takes far longer than to find it


def parsed(kind: type[Body], raw: bytes) -> Body:
    """A request's body.

    Raises:
        ApiError: 400, naming the first parameter at fault, unless there are very many.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        if (count := error.error_count()) > _MOST_FAULTS:
            raise ApiError(400, f"The body has {count} faults.", "invalid_value") from None
        fault = error.errors(include_url=False, include_context=False)[0]
        if fault["type"] == "json_invalid":
            raise ApiError(400, "The body is not valid JSON.", "invalid_json") from None
        param = _param(fault["loc"])
        if fault["type"] == UNSERVED:
            raise ApiError(
                400, f"{param!r} is not supported by this server.", "unsupported_parameter", param
            ) from None
        if fault["type"] == "extra_forbidden":
            raise ApiError(400, f"Unknown parameter: {param!r}.", "unknown_parameter", param) from None
        text = fault["msg"].removeprefix("Value error, ")
        raise ApiError(400, f"{param}: {text}" if param else text, "invalid_value", param or None) from None


def _param(where: tuple[int | str, ...]) -> str:
    """The path of a parameter, without what names the branch of a union."""
    names = [one for one in where if isinstance(one, int) or one not in _BRANCHES]
    return ".".join(str(one) for one in names if isinstance(one, int) or "[" not in one)
