"""The bodies of the further products have the keys and types of those that were published and captured."""

from __future__ import annotations

from datetime import date

import pytest

from mpesa_core.sandbox import Behaviour, Customer, Ending, Rules
from tests.sampled import sample
from tests.sandbox.test_sandbox_samples import sent, shape


def like(name, body):
    """Whether the body has the sample's keys and types."""
    assert shape(sample(name).json) == shape(body)


def failed(world, ending, send, end="b2b/result", **rule):
    world.daraja.script(Behaviour(ending=ending), **rule)
    send()
    return sent(world, end)


def test_payments_to_businesses(world):
    """Acceptance, success, and every failure that was published or captured."""
    like("b2b__response", world.pay_business(AccountReference="19008")[1])
    paid = sent(world, "b2b/result")
    like("b2b_paybill__callback__success_strings", paid)
    for name in ("b2b_buygoods__callback__success_strings", "b2c_topup__callback__success", "tax__callback__success"):
        like(name, paid)
    like("b2b_paybill__callback__fail_2001_param_list", failed(world, Ending.WRONG_PIN, world.pay_business))
    like(
        "b2b_paybill__callback__locked_8006_reference_list",
        failed(world, Ending.LOCKED_CREDENTIAL, world.pay_business),
    )
    like("b2b__callback__fail_sfc_ic0003", failed(world, Ending.UNKNOWN_RECEIVER, world.pay_business))


def test_top_ups_and_taxes(world):
    """A top-up's failure has one parameter as an object, and numbers go out as numbers; a registration is text."""
    top_up = lambda: world.pay_business(CommandID="BusinessPayToBulk", AccountReference="12323333")  # noqa: E731
    like("b2c_topup__callback__fail_single_param_numeric", failed(world, Ending.WRONG_PIN, top_up))
    like("b2c_topup__response", top_up()[1])
    like("tax__callback__locked_8006", failed(world, Ending.LOCKED_CREDENTIAL, world.remit))
    like("tax__response", world.remit()[1])


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (Ending.WRONG_PIN, 2001, "b2b_paybill__callback__fail_2001_param_list"),
        (Ending.UNKNOWN_RECEIVER, "SFC_IC0003", "b2b__callback__fail_sfc_ic0003"),
        (Ending.LOCKED_CREDENTIAL, 8006, "tax__callback__locked_8006"),
    ],
)
def test_codes_and_words(world, ending, code, words):
    """Code and words of a failure are the sample's."""
    result = failed(world, ending, world.pay_business)["Result"]
    expected = sample(words).json["Result"]
    assert code == result["ResultCode"]
    assert (expected["ResultCode"], expected["ResultDesc"]) == (result["ResultCode"], result["ResultDesc"])


def test_pochi(world):
    """Acceptance, and the captured failure with the caller's own URL."""
    like("b2pochi__response", world.pochi()[1])
    again = lambda: world.pochi(OriginatorConversationID="pochi-2")  # noqa: E731
    body = failed(world, Ending.LOCKED_CREDENTIAL, again, "b2c/result")
    like("b2pochi__callback__locked_8006_single_param_object", body)
    item = body["Result"]["ReferenceData"]["ReferenceItem"]
    assert "https://shop.example/pay/b2c/timeout" == item["Value"]


def test_express_checkout(world):
    """Acceptance, success and the cancelled one."""
    assert sample("b2b_express__response__accepted").json == world.prompt_business()[1]
    like("b2b_express__callback__success", sent(world, "/express"))
    body = failed(world, Ending.CANCEL, world.prompt_business, "/express")
    expected = sample("b2b_express__callback__cancelled_4001").json
    like("b2b_express__callback__cancelled_4001", body)
    names = ("resultCode", "resultDesc", "amount")
    assert [expected[name] for name in names] == [body[name] for name in names]


@pytest.mark.parametrize(
    ("name", "missing", "send"),
    [
        ("b2b_express__error__401", "express_checkout", lambda world: world.prompt_business()),
        ("billmanager__error__not_enabled_401", "bills_opt_in", lambda world: world.opt_in()),
        ("b2c__error__not_authorized_403", "b2c", lambda world: world.payout()),
    ],
)
def test_missing_products(make_world, name, missing, send):
    """The captured refusals of products that the app lacks."""
    expected = sample(name)
    status, body = send(make_world(rules=Rules(missing=frozenset({missing}))))
    assert expected.status == status
    assert {**expected.json, "requestId": body["requestId"]} == body


def test_bill_manager(world):
    """Every reply, the refusals of the family 409, and the payment."""
    like("billmanager_optin__response", world.opt_in()[1])
    assert sample("billmanager_optin__error__already_registered").json == world.opt_in()[1]
    assert sample("billmanager_optin_update__response").json == world.opt_in("change-optin-details")[1]
    assert sample("billmanager_single_invoice__response").json == world.invoice()[1]
    two = [world.invoice_fields(externalReference=reference) for reference in ("E-2", "E-3")]
    assert sample("billmanager_bulk_invoice__response").json == world.bills("bulk-invoicing", two)[1]
    receipt = world.daraja.customer_pays_bill("E-1").receipt
    like("billmanager_payment__callback", sent(world, "/bills"))
    cancel = {"externalReference": "E-1"}
    assert sample("billmanager_cancel__error__conflict").json == world.bills("cancel-single-invoice", cancel)[1]
    assert (
        sample("billmanager_cancel__response").json
        == world.bills("cancel-bulk-invoices", [{"externalReference": "E-2"}])[1]
    )
    acknowledged = {**sample("billmanager_acknowledgment__request").json, "transactionId": receipt}
    expected = sample("billmanager_acknowledgment__response").json
    assert expected == world.bills("reconciliation", acknowledged)[1]


@pytest.mark.parametrize(
    "name", ["billmanager_optin__request", "billmanager_single_invoice__request", "billmanager_bulk_invoice__request"]
)
def test_published_requests_are_taken(world, name):
    """The page's own bodies are in order."""
    world.opt_in(shortcode="600100")
    path = {"optin": "optin", "single": "single-invoicing", "bulk": "bulk-invoicing"}[name.split("_")[1]]
    body = sample(name).json
    if path == "optin":
        body = {**body, "shortcode": "174379"}
    assert "200" == world.bills(path, body)[1]["rescode"]


def test_standing_orders(world):
    """Acceptance, both spellings of the callback, and the captured refusal."""
    like("ratiba__response__accepted", world.standing_order()[1])
    like("ratiba__callback__success_camel", sent(world, "/standing"))
    body = failed(world, Ending.UNREACHABLE, world.standing_order, "/standing")
    like("ratiba__callback__fail_1037_pascal", body)
    status, refused = world.standing_order(BusinessShortCode="600000")
    expected = sample("ratiba__error__shortcode_400")
    like("ratiba__error__shortcode_400", refused)
    assert (expected.status, expected.json["responseMessage"]) == (status, refused["responseMessage"])


@pytest.mark.parametrize("name", ["ratiba__request__2025", "ratiba__request__2026_ext_third_party"])
def test_published_standing_orders_are_taken(world, name):
    """Both editions' own bodies are in order."""
    assert 200 == world.call("/standingorder/v1/createStandingOrderExternal", sample(name).json)[0]
    world.daraja.run_until_idle()
    assert 1 == len(world.daraja.standing_orders)


def test_pulled_transactions(make_world):
    """Registration, both forms of rows, nothing, and the captured refusal."""
    world = make_world()
    like("pull_register__response__ok", world.register_pull()[1])
    like("pull_register__response__already_spaced_keys", world.register_pull()[1])
    assert {**sample("pull_query__response__none_documented").json, "ResponseRefID": ...} == {
        **world.pull()[1],
        "ResponseRefID": ...,
    }
    for masked, name in ((False, "pull_query__response__rows"), (True, "pull_query__response__rows_string_msisdn")):
        world = make_world(rules=Rules(mask_pulled_phone=masked))
        world.daraja.register_pull()
        rows = len(sample(name).json["Response"][0])
        for _ in range(rows):
            world.daraja.customer_pays(amount=1)
        like(name, world.pull()[1])
    status, refused = world.call("/pulltransactions/v1/register", {}, token="x" * 28)
    expected = sample("pull_register__error__401")
    assert (expected.status, {**expected.json, "requestId": refused["requestId"]}) == (status, refused)


def test_lookups(make_world):
    """QR, names, organisations, SIM cards, points and the IoT portal."""
    known = Customer(phone="254722000000", middle_name="M", last_name="M", last_swap=date(2026, 9, 1))
    world = make_world(customers=[known])
    code = world.call("/mpesa/qrcode/v1/generate", sample("qr__request").json)[1]
    like("qr__response__captured_2026", code)
    assert code["QRCode"].startswith(sample("qr__response__captured_2026").json["QRCode"].rstrip("="))
    refused = world.call("/mpesa/qrcode/v1/generate", {**sample("qr__request").json, "TrxCode": "X"})
    expected = sample("qr__error__invalid_trxcode")
    assert (expected.status, expected.json["errorCode"], expected.json["errorMessage"]) == (
        refused[0],
        refused[1]["errorCode"],
        refused[1]["errorMessage"],
    )
    asked = sample("hakikisha__request").json
    asked["body"]["shortcode"] = "174379"
    path = "/mpesa/b2c/hakikisha/v1/hakikisha"
    like("hakikisha__response__ok", world.call(path, asked)[1])
    world.daraja.script(Behaviour(ending=Ending.NOT_A_CUSTOMER), api="hakikisha")
    assert sample("hakikisha__error__no_customer").json == world.call(path, asked)[1]
    path, asked = "/sfcverify/v1/query/info", {"IdentifierType": "4", "Identifier": "174379"}
    like("query_org_info__response__ok", world.call(path, asked)[1])
    nobody = world.call(path, sample("query_org_info__request").json)[1]
    expected = sample("query_org_info__response__not_found").json
    assert {**expected, "ConversationID": nobody["ConversationID"]} == nobody
    like("imsi__response", world.call("/imsi/v1/checkATI", sample("imsi__request").json)[1])
    like("swap__response", world.call("/imsi/v2/checkATI", sample("swap__request").json)[1])
    points = world.call("/v1/lipa/na/bonga/calculate-points", sample("bonga_calculate__request").json)[1]
    like("bonga_calculate__response", points)
    assert sample("bonga_calculate__response").json["body"] == points["body"]
    redeemed = {**sample("bonga_redeem__request").json, "shortCode": "174379", "conversionRate": 0.2}
    like("bonga_redeem__response", world.call("/v1/lipa/na/bonga/redeem-paybill", redeemed)[1])
    path = "/simportal/v1/queryLifeCycleStatus"
    like("iot_lifecycle__response", world.call(path, sample("iot_lifecycle__request").json)[1])
