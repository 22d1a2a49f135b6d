// Sends the token of the HTTP door with every request of a program that knows of none: by fetch, and by node:http.
import http from "node:http";

const bearer = `Bearer ${process.env.RLMD_TOKEN}`;

const fetchPlainly = globalThis.fetch;
globalThis.fetch = (input, init = {}) => {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  headers.set("authorization", bearer);
  return fetchPlainly(input, { ...init, headers });
};

const implicitHeader = http.ClientRequest.prototype._implicitHeader;
http.ClientRequest.prototype._implicitHeader = function () {
  if (!this.hasHeader("authorization")) this.setHeader("authorization", bearer);
  return implicitHeader.call(this);
};
