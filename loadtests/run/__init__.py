"""One execution of a profile: preflight, snapshot, load, scrape, judge, write. Never imports Locust or gevent."""
