"""The OpenAPI document of the public API: the bodies as they are validated, the answers as they are sent."""

from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from agent.bodies import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody, prompt_schema
from agent.engine.protocol import Engine

Schema = dict[str, Any]
_BODIES = (ChatBody, CompletionBody, TokenizeBody, DetokenizeBody)


def document(engine: Engine) -> Schema:
    """OpenAPI 3.1, for the model that is served here."""
    _, bodies = models_json_schema(
        [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas = {**bodies["$defs"], **_ANSWERS}
    for name, rules in _RULES.items():
        schemas[name]["allOf"] = rules
    for body in (ChatBody, CompletionBody):
        schemas[body.__name__]["properties"]["model"] = {"type": "string", "enum": [engine.info.model]}
    token = {"type": "integer", "minimum": 0, "maximum": engine.tokens.vocab_size - 1}
    schemas["DetokenizeBody"]["properties"]["tokens"]["items"] = token
    schemas["CompletionBody"]["properties"]["prompt"] = prompt_schema(token)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mtok agent",
            "version": version("mtok"),
            "description": "OpenAI's API, with a durable account of every token. `usage` sums over an answer's "
            "choices: each prompt counts as often as the engine worked on it. Parameters that are not "
            "implemented are refused.",
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
        "paths": _paths(engine.info.model),
    }


def _paths(model: str) -> Schema:
    model_name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "enum": [model]}}
    return {
        "/v1/chat/completions": {"post": _post("chat", ChatBody, "ChatCompletion", is_stream=True)},
        "/v1/completions": {"post": _post("completion", CompletionBody, "Completion", is_stream=True)},
        "/tokenize": {"post": _post("tokenize", TokenizeBody, "Tokens")},
        "/detokenize": {"post": _post("detokenize", DetokenizeBody, "Text")},
        "/v1/models": {"get": _get("models", "Models")},
        "/v1/models/{model}": {"get": {**_get("model", "Model"), "parameters": [model_name]}},
        "/health": {"get": _get("health", "Health", is_open=True, unavailable="Health")},
        "/ready": {"get": _get("ready", "Ready", is_open=True)},
        "/metrics": {"get": _get("metrics", {"text/plain": {"schema": {"type": "string"}}})},
        "/openapi.json": {
            "get": _get("document", {"application/json": {"schema": {"type": "object"}}}, is_open=True)
        },
    }


def _post(name: str, body: type, answer: str, *, is_stream: bool = False) -> Schema:
    content = _json(answer)
    if is_stream:
        content["text/event-stream"] = {"schema": {}}
    wanted = {"required": True, "content": _json(body.__name__)}
    return {"operationId": name, "requestBody": wanted, "responses": _responses(content)}


def _get(name: str, answer: str | Schema, *, is_open: bool = False, unavailable: str = "Error") -> Schema:
    content = _json(answer) if isinstance(answer, str) else answer
    operation: Schema = {"operationId": name, "responses": _responses(content, unavailable)}
    return {**operation, "security": []} if is_open else operation


def _needs(name: str, other: str, value: Schema) -> Schema:
    """A rule: with one property goes a value of another."""
    return {
        "if": {"properties": {name: {"not": {"type": "null"}}}, "required": [name]},
        "then": {"properties": {other: value}, "required": [other]},
    }


def _without(name: str, other: str) -> Schema:
    """A rule: with one property the other is absent, or null."""
    return {
        "if": {"properties": {name: {"not": {"type": "null"}}}, "required": [name]},
        "then": {"properties": {other: {"type": "null"}}},
    }


def _responses(content: Schema, unavailable: str = "Error") -> Schema:
    faults = {
        "400": "The request is at fault.",
        "401": "The key is missing or unknown.",
        "404": "The model, or the path, is not here.",
        "405": "Another method is needed.",
        "413": "The body is too large.",
        "429": "Too many requests, or the key's quota is used up; see Retry-After.",
        "500": "The engine failed.",
    }
    found = {status: {"description": what, "content": _json("Error")} for status, what in faults.items()}
    found["503"] = {"description": "Not serving now; see Retry-After.", "content": _json(unavailable)}
    return {"200": {"description": "As asked.", "content": content}, **found}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _object(**properties: Schema) -> Schema:
    """An object that has all of these, and may have more."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _completion(kind: str, content: Schema) -> Schema:
    finish = {"enum": ["stop", "length"]}
    logprobs = {"type": ["object", "null"]}
    choice = _object(index=_COUNT, **content, logprobs=logprobs, finish_reason=finish)
    return _object(
        id=_TEXT,
        object={"const": kind},
        created=_COUNT,
        model=_TEXT,
        choices=_list(choice),
        usage=_ref("Usage"),
    )


_OF_A_STREAM = _needs("stream_options", "stream", {"const": True})
_RULES: Schema = {
    "ChatBody": [
        _OF_A_STREAM,
        _needs("top_logprobs", "logprobs", {"const": True}),
        _without("max_tokens", "max_completion_tokens"),
    ],
    "CompletionBody": [_OF_A_STREAM],
    "Message": [
        {
            "if": {"properties": {"content": {"type": "null"}}},
            "then": {"properties": {"role": {"const": "assistant"}}},
        }
    ],
    "TokenizeBody": [
        {
            "oneOf": [
                {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
                {"required": ["messages"], "properties": {"messages": {"type": "array"}}},
            ]
        }
    ],
}
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ANSWERS: Schema = {
    "Error": _object(error=_object(message=_TEXT, type=_TEXT, param=_TEXT_OR_NULL, code=_TEXT_OR_NULL)),
    "Usage": _object(
        prompt_tokens=_COUNT,
        completion_tokens=_COUNT,
        total_tokens=_COUNT,
        prompt_tokens_details=_object(cached_tokens=_COUNT),
    ),
    "ChatCompletion": _completion(
        "chat.completion", {"message": _object(role={"const": "assistant"}, content=_TEXT)}
    ),
    "Completion": _completion("text_completion", {"text": _TEXT}),
    "Tokens": _object(tokens=_list(_COUNT), count=_COUNT, max_model_len=_COUNT),
    "Text": _object(prompt=_TEXT),
    "Model": _object(id=_TEXT, object={"const": "model"}, created=_COUNT, owned_by=_TEXT),
    "Models": _object(object={"const": "list"}, data=_list(_ref("Model"))),
    "Health": _object(status={"enum": ["ok", "wedged", "loading"]}),
    "Ready": _object(status={"const": "ready"}),
}
