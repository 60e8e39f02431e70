-- Sends the requests of a file in turn, again and again.
-- A line has method, path, token, ETag and body, separated by tabs. "{uuid}" in a body becomes a new UUID each time.

local requests, position = {}, 0

local function uuid()
  return (string.gsub("xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx", "x", function()
    return string.format("%x", math.random(0, 15))
  end))
end

local function format_request(line)
  local fields = {}
  for field in (line .. "\t"):gmatch("([^\t]*)\t") do fields[#fields + 1] = field end
  local method, path, token, etag, body = unpack(fields)
  local headers = {}
  if token ~= "" then headers["Authorization"] = "Bearer " .. token end
  if etag ~= "" then headers["If-None-Match"] = etag end
  if body == "" then return wrk.format(method, path, headers) end
  headers["Content-Type"] = "application/json"
  if not body:find("{uuid}", 1, true) then return wrk.format(method, path, headers, body) end
  return function() return wrk.format(method, path, headers, (body:gsub("{uuid}", uuid()))) end
end

function init(args)
  local random = io.open("/dev/urandom", "rb")
  local a, b, c, d = random:read(4):byte(1, 4)
  random:close()
  math.randomseed(((a * 256 + b) * 256 + c) * 256 + d)
  for line in io.lines(args[1]) do requests[#requests + 1] = format_request(line) end
end

function request()
  position = position % #requests + 1
  local next = requests[position]
  return type(next) == "function" and next() or next
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
