-- Posts the lines of the file named on the command line in turn, as JSON. wrk itself counts answers that are not 2xx or 3xx.
local requests, position = {}, 0

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, body)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end
