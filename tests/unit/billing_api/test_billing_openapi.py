import json
import re
from pathlib import Path

import pytest

from billing_api.app import ROUTES
from billing_api.http import answers, openapi
from billing_api.http.markdown import page
from billing_api.http.schema import schema_of

DOCUMENT = openapi.build(ROUTES)
ROOT = Path(__file__).parents[3]


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"]["schemas"])


def test_the_signup_body_is_described_with_its_bounds() -> None:
    body = DOCUMENT["components"]["schemas"]["SignupRequest"]
    assert body["required"] == ["email", "password", "company_name"]
    assert body["additionalProperties"] is False
    assert (body["properties"]["password"]["minLength"], body["properties"]["password"]["maxLength"]) == (8, 72)


def test_an_answer_is_described_from_its_class() -> None:
    trial = DOCUMENT["components"]["schemas"]["Subscription"]
    assert trial["required"] == ["plan", "status", "trial_ends_at", "trial_days_remaining"]
    assert trial["properties"]["trial_ends_at"] == {
        "type": "string",
        "format": "date-time",
        "description": "End of the trial.",
        "example": "2025-11-05T00:00:00Z",
    }


def test_a_type_without_json_schema_is_an_error_and_not_left_out() -> None:
    with pytest.raises(TypeError, match="bytes"):
        schema_of(bytes)


def test_only_what_needs_a_session_says_so() -> None:
    secured = {
        path
        for path, operations in DOCUMENT["paths"].items()
        for operation in operations.values()
        if "security" in operation
    }
    assert secured == {"/api/customers/logout", "/api/customers/{customer_id}/deployment/status"}


def test_the_names_of_the_requirement_documents_are_kept() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert list(schemas["Signup"]["properties"])[:5] == ["message", "customer", "subscription", "license", "deployment"]
    assert list(schemas["QueuedDeployment"]["properties"]) == [
        "status",
        "job_id",
        "instance_url",
        "estimated_time",
        "check_status_url",
    ]
    assert list(schemas["Login"]["properties"])[:3] == ["customer_id", "email", "license"]
    assert list(schemas["DeployedCustomer"]["properties"])[:3] == ["deploymentStatus", "instanceUrl", "deployedAt"]
    assert answers.DeploymentAnswer.__annotations__["customer"] is answers.DeployedCustomerAnswer


def test_docs_api_md_is_up_to_date() -> None:
    committed = (ROOT / "docs" / "api.md").read_text()
    assert committed == page(DOCUMENT), "run: python -m billing_api.http.openapi --markdown > docs/api.md"


def test_the_command_writes_json_and_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    openapi.main([])
    assert json.loads(capsys.readouterr().out) == DOCUMENT
    openapi.main(["--markdown"])
    assert capsys.readouterr().out.startswith("# Billing API\n")
