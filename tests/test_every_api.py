"""Each API of Daraja has an operation, a route at the local Daraja, a line in the docs and a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.balance import AccountBalance
from mpesa_core.daraja.c2b import RegisterUrls, SimulateC2B
from mpesa_core.daraja.express import CheckIdentity, StkPush, StkQuery
from mpesa_core.daraja.iot import IotAction, IotActionCall
from mpesa_core.daraja.oauth import FetchToken
from mpesa_core.daraja.operation import HttpRequest
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.gateway import Gateway
from mpesa_core.sandbox import LocalDaraja
from tests.daraja import products
from tests.daraja.requested import context

ROOT = Path(__file__).parent.parent
BILLS = "/v1/billmanager-invoice"
PUSH = {"phone_number": "0712345678", "amount": 10}
RESULT = products.urls("somewhere")
C2B = {"confirmation_url": "https://shop.example/pay/c/", "validation_url": "https://shop.example/pay/v/"}

APIS = [
    ("/oauth/v1/generate", FetchToken(consumer_key="k", consumer_secret="s")),
    (
        "/mpesa/stkpush/v1/processrequest",
        StkPush(**PUSH, account_reference="A", callback_url="https://shop.example/pay/"),
    ),
    ("/mpesa/stkpushquery/v1/query", StkQuery(checkout_request_id="ws_CO_1")),
    (
        "/mpesa/checkidentity/v1/processrequest",
        CheckIdentity(phone_number="0712345678", callback_url="https://shop.example/identity/"),
    ),
    ("/mpesa/c2b/v1/registerurl", RegisterUrls(**C2B, version=1)),
    ("/mpesa/c2b/v2/registerurl", RegisterUrls(**C2B, version=2)),
    ("/mpesa/c2b/v1/simulate", SimulateC2B(**PUSH, account_reference="A", version=1)),
    ("/mpesa/c2b/v2/simulate", SimulateC2B(**PUSH, account_reference="A", version=2)),
    ("/mpesa/b2c/v1/paymentrequest", B2CPayment(**PUSH, **RESULT, version=1)),
    ("/mpesa/b2c/v3/paymentrequest", B2CPayment(**PUSH, **RESULT, originator_conversation_id="mine")),
    ("/mpesa/b2cvalidate/v2/paymentrequest", products.identity()),
    ("/mpesa/b2pochi/v1/paymentrequest", products.pochi()),
    ("/mpesa/b2b/v1/paymentrequest", products.b2b()),
    ("/mpesa/b2b/v1/paymentrequest", products.top_up()),
    ("/mpesa/b2b/v1/remittax", products.tax()),
    ("/v1/ussdpush/get-msisdn", products.express()),
    ("/mpesa/reversal/v1/request", Reversal(transaction_id="NLJ7RT61SV", amount=10, **RESULT)),
    ("/mpesa/transactionstatus/v1/query", TransactionStatus(transaction_id="NLJ7RT61SV", **RESULT)),
    ("/mpesa/accountbalance/v1/query", AccountBalance(**RESULT)),
    ("/mpesa/qrcode/v1/generate", products.qr()),
    (f"{BILLS}/optin", products.opt_in()),
    (f"{BILLS}/change-optin-details", products.change_opt_in()),
    (f"{BILLS}/single-invoicing", products.send_invoice()),
    (f"{BILLS}/bulk-invoicing", products.send_invoices()),
    (f"{BILLS}/reconciliation", products.acknowledge()),
    (f"{BILLS}/cancel-single-invoice", products.cancel_invoice()),
    (f"{BILLS}/cancel-bulk-invoices", products.cancel_invoices()),
    ("/standingorder/v1/createStandingOrderExternal", products.standing_order()),
    ("/pulltransactions/v1/register", products.register_pull()),
    ("/pulltransactions/v1/query", products.pull()),
    ("/imsi/v1/checkATI", products.imsi()),
    ("/imsi/v2/checkATI", products.swap()),
    ("/mpesa/b2c/hakikisha/v1/hakikisha", products.hakikisha()),
    ("/sfcverify/v1/query/info", products.organisation()),
    ("/v1/lipa/na/bonga/calculate-points", products.calculate()),
    ("/v1/lipa/na/bonga/redeem-paybill", products.redeem()),
    ("/simportal/v1/", products.iot()),
    ("/simportal/v1/", IotAction(call=next(iter(IotActionCall)))),
]
"""The paths of Safaricom's developer portal, and one of the first Daraja, with an operation for each."""

NAMES = [f"{path} {type(operation).__name__}" for path, operation in APIS]


def dotted(operation):
    return f"{type(operation).__module__.rpartition('.')[2]}.{type(operation).__name__}"


def named(tree):
    """Every name that a piece of a program uses; what it only imports is none of them."""
    plain = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return plain | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.fixture(scope="module")
def tested():
    """Every name that a test of the wire uses, and what the product that it changes is made of."""
    folder = ROOT / "tests" / "daraja"
    made = {
        each.name: named(each)
        for each in ast.parse((folder / "products.py").read_text()).body
        if isinstance(each, ast.FunctionDef)
    }
    used = set().union(*(named(ast.parse(file.read_text())) for file in folder.glob("test_*.py")))
    return used.union(*(made[name] for name in used & made.keys()))


@pytest.fixture(scope="module")
def sent():
    """Every name that the gateway, and what works for it, uses."""
    core = ROOT / "src" / "mpesa_core"
    files = [*core.glob("gateway/*.py"), *core.glob("settlement/*.py"), core / "dues.py", core / "client.py"]
    return set().union(*(named(ast.parse(file.read_text())) for file in files))


def line_of(operation):
    """Its line in the table of the page of operations, as five cells."""
    page = (ROOT / "docs" / "reference" / "operations.md").read_text()
    [line] = [line for line in page.splitlines() if f"`{dotted(operation)}`" in line and line.startswith("|")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize(("path", "operation"), APIS, ids=NAMES)
def test_operation_goes_to_its_path(path, operation):
    """The operation builds a request to the path that the portal names."""
    assert operation.build(context(short_code="174379")).path.startswith(path)


@pytest.mark.parametrize(("path", "operation"), APIS, ids=NAMES)
def test_local_daraja_serves_it(path, operation):
    """The local Daraja knows the path and the verb."""
    asked = operation.build(context(short_code="174379"))
    daraja = LocalDaraja(post=lambda url, body: 200)
    response = daraja.handle(HttpRequest(method=asked.method, path=asked.path, headers=asked.headers, body=asked.body))
    assert daraja.requests[-1].api is not None
    assert b"Resource not found" not in response.body
    assert b"Method Not Allowed" not in response.body


@pytest.mark.parametrize(("path", "operation"), APIS, ids=NAMES)
def test_docs_have_a_line_for_it(path, operation):
    """The page of operations names the class, and says what the merchant needs and what M-PESA cannot do."""
    assert [True] * 5 == [bool(cell) for cell in line_of(operation)]


@pytest.mark.parametrize(("path", "operation"), APIS, ids=NAMES)
def test_docs_name_the_gateways_call_for_it(path, operation, sent):
    """Whether a gateway sends it is said, and every call that is named is the gateway's."""
    said = line_of(operation)[2]
    assert (type(operation).__name__ in sent) == (said != "no")
    for call in re.findall(r"`(\w+)", said):
        assert callable(getattr(Gateway, call))


@pytest.mark.parametrize(("path", "operation"), APIS, ids=NAMES)
def test_wire_tests_use_it(path, operation, tested):
    """A test of the wire makes the operation."""
    assert type(operation).__name__ in tested


def test_every_operation_has_its_path():
    """No operation of the SDK is missing in the table above."""
    found = set()
    for file in (ROOT / "src" / "mpesa_core" / "daraja").glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(each, ast.FunctionDef) and each.name == "build" for each in node.body
            ):
                found.add(node.name)
    listed = {type(operation).__name__ for _, operation in APIS} | {
        base.__name__ for _, operation in APIS for base in type(operation).__mro__
    }
    assert found - listed - {"Operation"} == {"ChangeInvoices"} & found
