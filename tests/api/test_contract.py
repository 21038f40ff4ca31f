"""The service answers what its OpenAPI document says, to whatever that document lets one ask."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import make_app
from api.settings import ApiSettings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
DOCUMENT = schemathesis.openapi.from_dict(make_app(ApiSettings()).openapi())
# Streams stay open; drawing from the schema of all specs takes minutes. test_streams and test_any_body are for those.
DOCUMENT = DOCUMENT.exclude(path_regex="/stream$").exclude(path="/jobs", method="POST")


@pytest.mark.system
@DOCUMENT.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=FIXTURES, phases=[Phase.explicit, Phase.generate])
def test_every_answer_is_one_that_the_document_names(case: schemathesis.Case, lab: Any) -> None:
    headers = {"Authorization": lab.http.headers["authorization"]}
    case.call_and_validate(base_url=lab.url, headers=headers, checks=CHECKS)
