-- POST /chat on a thousand sessions in turn, as a client of the lab's own tier.
local sessions = 1000
local turn = 0

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = "load-lab"

function request()
  turn = turn + 1
  local body = string.format(
    '{"session_id":"load-test-bench-%d","message":"How does the service hold up under turn %d of this conversation?"}',
    turn % sessions, turn)
  return wrk.format(nil, "/chat", nil, body)
end
