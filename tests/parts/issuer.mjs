// An OIDC issuer for tests: oauth2-mock-server with claims by request, and keys that come and go. Run from the folder
// whose node_modules hold it: node --input-type=module --eval "$(cat issuer.mjs)" PORT
//
//   POST /test/sign            {claims, kid?}: a token with these claims, by the newest key or the named one
//   POST /test/keys/NAME       a new key, which signs from now on; the others stay published
//   DELETE /test/keys/NAME     no longer published; it can still sign, as a thief's copy could
import { createServer } from 'node:http';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

const port = Number(process.argv.at(-1));
const issuer = new OAuth2Issuer();
issuer.url = `http://127.0.0.1:${port}`;
const service = new OAuth2Service(issuer);
const removed = new Set();
let newest = 'k1';
await issuer.keys.generate('RS256', { kid: newest });

const all = issuer.keys.toJSON.bind(issuer.keys);
issuer.keys.toJSON = (secret) => all(secret).filter((key) => !removed.has(key.kid));

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text || '{}');
}

async function control(request, response) {
  const [, , what, name] = request.url.split('/');
  if (request.method === 'POST' && what === 'sign') {
    const { claims, kid = newest } = await body(request);
    const scopesOrTransform = (_, payload) => Object.assign(payload, claims);
    return response.end(await issuer.buildToken({ kid, scopesOrTransform }));
  }
  if (request.method === 'POST' && what === 'keys') {
    await issuer.keys.generate('RS256', { kid: name });
    newest = name;
    return response.end();
  }
  if (request.method === 'DELETE' && what === 'keys') {
    removed.add(name);
    return response.end();
  }
  response.writeHead(404).end();
}

createServer((request, response) => {
  const handle = request.url.startsWith('/test/') ? control : service.requestHandler;
  Promise.resolve(handle(request, response)).catch((error) => response.writeHead(500).end(String(error)));
}).listen(port, '127.0.0.1');
