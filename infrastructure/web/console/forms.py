"""Forms of the console: read within the API's limits, and refused without their token."""

import hmac
from urllib.parse import parse_qsl

from starlette.requests import Request

from infrastructure.web.problems import Problem
from infrastructure.web.request_body import whole_body

MEDIA_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 2_100
"""Two for each seller of the largest order."""
TOKEN = "form_token"


async def read_form(request: Request, form_token: str) -> dict[str, str]:
    """Read the fields of a form. Raises Problem if the form is not one of this session."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        raise Problem("unsupported_media_type", "Send the console's form as the page shows it.")
    body = (await whole_body(request)).decode("ascii", errors="replace")
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem("invalid_request", f"The form has more than {MOST_FIELDS} fields.") from None
    fields = {name: value.strip() for name, value in pairs}
    if not hmac.compare_digest(fields.pop(TOKEN, "").encode(), form_token.encode()):
        raise Problem(
            "forged_form",
            "Nothing was changed: the form does not belong to this session, or the session has "
            "ended. Go back, load the page again, and repeat the action.",
        )
    return fields
