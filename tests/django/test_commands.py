"""The management commands: the core's, on the gateway of Django's settings."""

import io

import pytest

pytest.importorskip("django")

from django.core.management import CommandError, call_command, get_commands, load_command_class

from mpesa_core.client import DarajaClient
from mpesa_django import front as front_module
from mpesa_django import mpesa
from tests.django.hosting import post, taking_money

NOBODY = "5f0c1b1e-7a52-4c43-9a3e-0d2f6c1b8e11"
OURS = sorted(name for name, app in get_commands().items() if app == "mpesa_django")


def run(name, *arguments, **options):
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def project(monkeypatch):
    with taking_money(monkeypatch) as (daraja, repository):
        real = front_module.make_gateway

        def over_the_local_daraja(found):
            gateway = real(found)
            gateway.client = gateway._driver._client = DarajaClient.over(daraja.handle, gateway.settings)
            return gateway

        monkeypatch.setattr(front_module, "make_gateway", over_the_local_daraja)
        yield daraja, repository


def test_the_commands_that_there_are():
    """The nine, each with a help of its own."""
    words = "announce doctor reconcile recover register_urls replay sandbox send_invoices worker"
    assert [f"mpesa_{word}" for word in words.split()] == OURS
    assert all(load_command_class("mpesa_django", name).help for name in OURS)


@pytest.mark.parametrize("name", OURS)
def test_help_is_shown(name, capsys):
    """--help works, and offers no other place than Django's settings."""
    parser = load_command_class("mpesa_django", name).create_parser("manage.py", name)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "--database" not in capsys.readouterr().out


def test_recover_processes_what_is_open(project):
    """A callback whose processing was lost is taken up, and the payment settled, in the settings' repository."""
    daraja, repository = project
    payment = mpesa.stk_push(phone_number="0712345678", amount=10, account_reference="INV-1")
    mpesa.runner.stop = lambda **_: None
    mpesa.runner._process = lambda _id: None
    daraja.run_until_idle()
    assert "PROCESSING" == repository.get(payment.id).status
    assert run("mpesa_recover").startswith("1 callbacks processed")
    assert "SUCCESS" == repository.get(payment.id).status
    assert "announced:" in run("mpesa_announce", str(payment.id))


def test_worker_sweeps_once(project):
    """--once is passed on as a flag, and one sweep is told."""
    assert "0 callbacks processed" in run("mpesa_worker", once=True)
    assert "0 callbacks processed" in run("mpesa_worker", "--once")


def test_reconcile_takes_its_options(project):
    """An option with a value reaches the core's command, which judges it."""
    assert "0 asked about" in run("mpesa_reconcile", "--limit", "5")
    with pytest.raises(CommandError, match="limit"):
        run("mpesa_reconcile", "--limit", "0")


def test_replay_of_one_callback(project):
    """A recorded callback is processed again by its id; an unknown one is an error in the core's words."""
    _, repository = project
    post("/pay/stk/callback/", b'{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}')
    (row,) = repository.open_callbacks(correlation_ids=["ws_CO_1"])
    assert run("mpesa_replay", str(row.id))
    with pytest.raises(CommandError, match=NOBODY):
        run("mpesa_replay", NOBODY)


def test_invoices_are_sent(project, tmp_path):
    """Those of a file, once, however often it is sent."""
    daraja, repository = project
    file = tmp_path / "rent.csv"
    file.write_text(
        "external_reference,full_name,phone_number,period,invoice_name,due,account_reference,amount\n"
        "E-1,Jane Doe,0722000000,November 2026,Rent,2099-12-05,A-1,1500\n"
    )
    mpesa.opt_in_bills(email="a@b.example", official_contact="0710000000")
    assert "1 invoices are in order" in run("mpesa_send_invoices", str(file), "--dry-run")
    for _ in range(2):
        assert "1 invoices: 1 sent.\n" == run("mpesa_send_invoices", str(file))
    assert ("sent", ["E-1"]) == (
        repository.find_invoice("174379", "E-1").status,
        [each.external_reference for each in daraja.invoices],
    )


def test_another_place_in_the_environment_is_no_matter(project, monkeypatch):
    """What MPESA_DATABASE and MPESA_GATEWAY name for the core's own command does not lead this one astray."""
    monkeypatch.setenv("MPESA_DATABASE", "/nowhere/payments.db")
    monkeypatch.setenv("MPESA_GATEWAY", "nowhere:gateway")
    assert "0 callbacks processed" in run("mpesa_recover")


def test_doctor_looks_at_the_settings(project, monkeypatch):
    """The doctor examines Django's settings, and says what is wrong with them, with exit status 1."""
    with pytest.raises(SystemExit) as ended:
        run("mpesa_doctor", "--offline")
    assert 0 == ended.value.code
    from django.test import override_settings

    out = io.StringIO()
    with override_settings(MPESA={"SHORT_COD": "1"}), pytest.raises(SystemExit) as ended:
        call_command("mpesa_doctor", "--offline", stdout=out)
    assert 1 == ended.value.code
    assert "did you mean SHORT_CODE?" in " ".join(out.getvalue().split())


def test_register_urls(project, monkeypatch):
    """The C2B URLs of the settings are registered with Daraja; what it refuses is an error."""
    daraja, _ = project
    assert "Registered the URLs of the account default." in run("mpesa_register_urls")
    (asked,) = [request for request in daraja.requests if "ConfirmationURL" in request.fields]
    assert "https://shop.example/pay/c2b/confirm/" == asked.fields["ConfirmationURL"]
    with pytest.raises(CommandError, match="tull"):
        run("mpesa_register_urls", "--account", "tull")
