"""JSON Schema 2020-12 of requests and answers, named in the document's components.

Requests are described in snake_case (camelCase is accepted), answers in camelCase. A schema of a call of the original
allows further keys, which are ignored. Those of new calls do not.
"""

from __future__ import annotations

from backbeat.gateway.api.shapes.jobs import KINDS
from backbeat.gateway.openapi.nouns import ANSWERS, REQUESTS
from backbeat.gateway.openapi.types import (
    NUMBER_MAX,
    TEXT,
    TIME,
    UUID,
    Schema,
    answer_object,
    list_of,
    ref,
    request_property,
)
from backbeat.gateway.payloads import PAYLOAD_BYTES_MAX
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.status import MODE_WORDS
from backbeat.schemas.messages.values import COALESCE_WORDS

#: The words of PUT /activities/:id/status/:status.
STATUS_WORDS = (
    "deciding",
    "processing",
    "deciding_complete",
    "completed",
    "errored",
    "resolved",
    "shutdown",
    "deactivated",
    "canceled",
)


_LIMITS = Settings()

_MODE: Schema = {"type": "string", "enum": list(MODE_WORDS)}

_ERROR_CLASSES = (
    "ActiveRecord::StatementInvalid",
    *(
        f"Backbeat::{name}"
        for name in (
            "Forbidden",
            "InvalidClientStatusChange",
            "InvalidParameters",
            "InvalidServerStatusChange",
            "LimitExceeded",
            "MethodNotAllowed",
            "NotFound",
            "Timeout",
            "TooManyRequests",
            "Unavailable",
            "UnknownStatus",
            "WorkflowComplete",
        )
    ),
)
_ERROR: Schema = {
    **ANSWERS["Error"],
    "required": ["errorClass", "message"],
    "properties": {
        **ANSWERS["Error"]["properties"],
        "errorClass": {"type": "string", "enum": list(_ERROR_CLASSES)},
        "rejection": ref("Rejection"),
    },
}

# --- requests --------------------------------------------------------------------------------------------------------

#: Text that is not blank.
WORD: Schema = {"type": "string", "pattern": "\\S"}
#: A name may be a number, which counts as its text.
_NAME: Schema = {"type": ["string", "number"], "pattern": "\\S"}

SUBJECT: Schema = {
    "not": {"anyOf": [{"enum": [None, False, {}, []]}, {"type": "string", "pattern": "^\\s*$"}]},
    "description": (
        "any JSON value but null, false, blank text, {} and []; its keys are kept in snake_case; "
        f"at most {_LIMITS.subject_bytes_max:,} bytes"
    ),
}

_NEW_WORKFLOW: Schema = {
    "type": "object",
    "required": ["subject", "decider"],
    "anyOf": [{"required": ["name"]}, {"required": ["workflow_type"]}],
    "properties": {
        "name": {**_NAME, "description": f"at most {_LIMITS.name_bytes_max:,} bytes, as every name"},
        "workflow_type": {**_NAME, "description": "taken where there is no name"},
        "subject": SUBJECT,
        "decider": {**_NAME, "description": "only the first call for a workflow says who decides"},
    },
}

_PAYLOADS: dict[str, Schema] = {
    "client_data": request_property(
        {
            "type": "object",
            "properties": {
                "timeout": {
                    "type": ["number", "string", "null"],
                    "pattern": "^[0-9]+(\\.[0-9]+)?$",
                    "description": "seconds that the client has to answer (172,800); null: any time",
                }
            },
        },
        f"kept and given untouched; at most {_LIMITS.payload_bytes_max:,} bytes, {PAYLOAD_BYTES_MAX:,} for a user that "
        "is served by webhook",
    ),
    "metadata": request_property(
        {"type": ["object", "array", "string", "number", "boolean"]},
        f"kept and given untouched, mostly an object; at most {_LIMITS.payload_bytes_max:,} bytes. Activities are "
        "searched by it",
    ),
    "parent_link_id": request_property(UUID, "a node, anybody's, that cannot complete before this one does"),
}

BACKOFF_PROPERTIES: dict[str, Schema] = {
    "retry_factor": request_property(
        {
            "type": ["number", "string"],
            "minimum": 1,
            "maximum": NUMBER_MAX,
            "pattern": "^[1-9][0-9]{0,8}(\\.[0-9]{1,9})?$",
        },
        "each wait between retries is so many times as long as the one before (2)",
    ),
    "retry_longest": request_property(
        {"type": ["number", "string"], "minimum": 0, "maximum": NUMBER_MAX, "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?$"},
        "seconds; no wait is longer, before jitter (3600)",
    ),
    "retry_jitter": request_property(
        {"type": ["number", "string"], "minimum": 0, "maximum": 1, "pattern": "^(0(\\.[0-9]{1,9})?|1)$"},
        "share of a wait by which it is longer or shorter (0.2)",
    ),
}

NODE_PROPERTIES: dict[str, Schema] = {
    "fires_at": request_property(TIME, "when it starts at the earliest (now); without a zone: UTC"),
    "retry": request_property(
        {"type": ["integer", "string"], "minimum": 0, "maximum": NUMBER_MAX, "pattern": "^[0-9]{1,9}$"},
        "how often it is tried again after an error (6)",
    ),
    "retry_interval": request_property(
        {
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": NUMBER_MAX,
            "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?$",
        },
        "whole seconds (1200), multiplied by 2^max(0, 6 - retries that are left); with one of the next three, seconds "
        "until the first retry",
    ),
    **BACKOFF_PROPERTIES,
    "client_id": request_property(UUID, "the user that runs it (the caller)"),
    "priority": request_property(
        {"type": ["integer", "string"], "minimum": 1, "maximum": 5, "pattern": "^[1-5]$"},
        "among those that wait for the same limit: 1 goes first, 5 last (as its parent, else 3)",
    ),
    "fairness_key": request_property(TEXT, "those of one priority that wait for the same limit take turns by it"),
    **_PAYLOADS,
    "options": request_property(
        {"type": "object", "properties": _PAYLOADS},
        "where it is given, client_data, metadata and parent_link_id are looked for here and not beside it",
    ),
}

_SIGNAL_PROPERTIES: dict[str, Schema] = {
    **NODE_PROPERTIES,
    "coalesce_key": request_property(
        WORD,
        "a signal of the workflow with the same key that was not sent to its client yet, and this one, become one",
    ),
    "coalesce": request_property(
        {"type": "string", "enum": list(COALESCE_WORDS)},
        "with a coalesce_key: replace (which it is without a word): the one that waits is deactivated; drop: it stands "
        "for both, and is answered",
    ),
    "beside": request_property(
        {"type": "boolean"}, "true: it starts at once, beside the workflow's other signals (they take turns)"
    ),
}

_DECISION: Schema = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _NAME,
        "mode": request_property(
            _MODE,
            "blocking (which it is without a word): later siblings wait for it; non_blocking: the parent alone waits; "
            "fire_and_forget: nobody does",
        ),
        "type": request_property(TEXT, "activity (which it is without a word), decision or flag"),
        "legacy_type": request_property(TEXT, "counts where both are given"),
        **NODE_PROPERTIES,
    },
}

_DECISIONS: Schema = {
    **list_of(ref("Decision")),
    "description": f"at most {_LIMITS.children_max:,}; more may follow in further calls",
}

SCHEMAS: dict[str, Schema] = {
    **ANSWERS,
    **REQUESTS,
    "NewJob": {**REQUESTS["NewJob"], "anyOf": KINDS},
    "Print": answer_object({"print": {"type": "string", "description": "a line a node, with ANSI colours"}}),
    "Success": answer_object({"success": {"const": True}}),
    "NewWorkflow": _NEW_WORKFLOW,
    "NewWorkflowAsForm": {
        **_NEW_WORKFLOW,
        "properties": {
            **_NEW_WORKFLOW["properties"],
            "subject": {**WORD, "description": "text; or an object, as subject[order_id]=17"},
        },
    },
    "NewSignal": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": _NAME, **_SIGNAL_PROPERTIES},
    },
    "NewSignalOfName": {"type": "object", "properties": _SIGNAL_PROPERTIES},
    "Decision": _DECISION,
    "NewDecisions": {
        "type": "object",
        "anyOf": [{"required": ["decisions"]}, {"required": ["args"]}],
        "properties": {
            "decisions": _DECISIONS,
            "args": {
                "type": "object",
                "required": ["decisions"],
                "properties": {"decisions": _DECISIONS},
                "description": "looked into where there are no decisions beside it",
            },
        },
    },
    # A form has the values of a list's field one after the other.
    "NewDecisionsAsForm": {
        "type": "object",
        "required": ["decisions[][name]"],
        "properties": {
            "decisions[][name]": {
                **list_of(WORD),
                **WORD,
                "type": ["array", "string"],
                "minItems": 1,
                "description": "once for each decision; its other fields may follow it, as decisions[][mode]",
            }
        },
    },
    "NewStatus": {
        "type": "object",
        "properties": {
            "response": {
                "description": (
                    "any JSON value, by custom {jsonrpc, result, error, id}; its keys are kept in snake_case; "
                    f"at most {_LIMITS.payload_bytes_max:,} bytes, {PAYLOAD_BYTES_MAX:,} from a user that is served by "
                    "webhook; an error that is larger is cut"
                )
            },
            "args": {"description": "taken where there is no response"},
            "retriable": request_property(
                {"type": "boolean"}, "of errored; false: another attempt is no use, none is made"
            ),
            "retry_after": request_property(
                {
                    "type": ["number", "string"],
                    "minimum": 0,
                    "maximum": NUMBER_MAX,
                    "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?$",
                },
                "of errored; seconds until the next attempt, for this once",
            ),
        },
    },
    "Error": _ERROR,
    "Unauthorized": answer_object({"error": {"const": "Unauthorized"}}),
}
