"""The servers that other tests stand on do what those tests rely on."""

from __future__ import annotations


def test_a_crash_of_postgres_loses_nothing_committed(postgres, postgres_database):
    """What was committed is there after a crash and a start."""
    postgres.sql("CREATE TABLE kept (n int)", postgres_database)
    postgres.sql("INSERT INTO kept VALUES (1)", postgres_database)
    postgres.crash()
    postgres.start()
    postgres.sql("SELECT 1 / count(*) FROM kept", postgres_database)


def test_mariadb_has_databases_of_its_own(mariadb, mariadb_database):
    """A database can be written to."""
    mariadb.sql(f"CREATE TABLE {mariadb_database}.kept (n int)")
    mariadb.sql(f"INSERT INTO {mariadb_database}.kept VALUES (1)")


def test_the_browser_shows_a_page(browser_page):
    """It renders, and runs the page's script."""
    browser_page.set_content("<h1>closed</h1><button onclick=\"document.querySelector('h1').textContent = 'open'\">Go")
    browser_page.get_by_role("button", name="Go").click()
    assert "open" == browser_page.get_by_role("heading").text_content()


def test_a_killed_redis_loses_everything(redis_broker):
    """Nothing survives a kill, so a queue in it is lost."""
    assert redis_broker.command("SET", "kept", "1").startswith(b"+OK")
    redis_broker.kill()
    assert b"" == redis_broker.command("PING")
    redis_broker.start()
    assert b"$-1" == redis_broker.command("GET", "kept").strip()
