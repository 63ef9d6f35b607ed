"""A SPIFFE Workload API for tests, on the protocol definition that ships with PyPI's `spiffe`.

    python workload.py PATH PORT

It serves on the unix socket PATH and on the loopback port PORT, and does what one JSON object per line on its standard
input says; for each it answers one line, {"asked": {method: calls}, "open": streams}. It ends with its input.

    {"do": "serve", "state": {...}}   what it serves from now on; whoever has a stream open is told
    {"do": "deny", "why": TEXT}       everybody has PERMISSION_DENIED, open streams too
    {"do": "hang"}                    takes every call and answers none; open streams stay and are told nothing
    {"do": "break"}                   every open stream ends with UNAVAILABLE; what is served stays
    {"do": "count"}                   nothing

The state, every part of it optional; DER is in base64:

    x509          [{"id", "chain": DER of the leaf and its intermediates, "key": PKCS #8 DER, "bundle": DER, "hint"?}]
    federated     {trust domain: DER}, beside the X.509-SVIDs
    x509_bundles  {trust domain: DER}
    jwt_bundles   {trust domain: JWKS document}
    jwt           [{"id", "kid", "alg", "key": PKCS #8 PEM, "seconds": lifetime, "hint"?, "audience"?: in place of what is asked,
                    "claims"?: laid over the others, null removes}]
"""

import asyncio
import base64
import collections
import json
import os
import sys
import time

import grpc
import jwt
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as rpc

# SPIFFE Workload Endpoint, section 6: whoever is made to send a request elsewhere does not send this.
HEADER = ("workload.spiffe.io", "true")


def der(text):
    return base64.b64decode(text, validate=True)


class Workload(rpc.SpiffeWorkloadAPIServicer):
    """Serves one state to everybody; each change of it is a version."""

    def __init__(self):
        self.state = {}
        # As real agents do: the same JWT-SVID for the same audience, until half of its life is over.
        self.signed = {}
        self.mode = "serve"
        self.why = ""
        self.breaks = 0
        self.version = 0
        self.open = 0
        self.asked = collections.Counter()
        self.changed = asyncio.Condition()

    async def control(self, command):
        async with self.changed:
            match command["do"]:
                case "serve":
                    self.mode, self.state, self.signed = "serve", command["state"], {}
                    self.version += 1
                case "deny":
                    self.mode, self.why = "deny", command["why"]
                    self.version += 1
                case "hang":
                    self.mode = "hang"
                case "break":
                    self.breaks += 1
                case "count":
                    pass
                case other:
                    raise ValueError(f"{other!r} is not a command")
            self.changed.notify_all()
        return {"asked": self.asked, "open": self.open}

    async def admit(self, method, context):
        """Refuses what the protocol refuses, and what it was told to."""
        if HEADER not in context.invocation_metadata():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        self.asked[method] += 1
        await self.allowed(context)

    async def allowed(self, context):
        """Waits while it hangs, and refuses while it denies."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.mode != "hang")
        if self.mode == "deny":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, self.why)

    async def updates(self, method, context, answer):
        """What `answer` makes of the state, now and after each change."""
        await self.admit(method, context)
        self.open += 1
        breaks, seen = self.breaks, None
        try:
            while True:
                async with self.changed:
                    await self.changed.wait_for(
                        lambda: self.breaks != breaks or (self.mode != "hang" and self.version != seen)
                    )
                if self.breaks != breaks:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the stream was broken")
                await self.allowed(context)
                seen = self.version
                yield answer(self.state)
        finally:
            self.open -= 1

    async def FetchX509SVID(self, request, context):
        if not self.state.get("x509"):
            await self.no_identity(context)
        async for update in self.updates("FetchX509SVID", context, x509_svids):
            yield update

    async def FetchX509Bundles(self, request, context):
        async for update in self.updates("FetchX509Bundles", context, x509_bundles):
            yield update

    async def FetchJWTBundles(self, request, context):
        async for update in self.updates("FetchJWTBundles", context, jwt_bundles):
            yield update

    async def FetchJWTSVID(self, request, context):
        await self.admit("FetchJWTSVID", context)
        if not request.audience:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "audience must be specified")
        signers = [one for one in self.state.get("jwt", []) if request.spiffe_id in ("", one["id"])]
        if not signers:
            await self.no_identity(context)
        return pb.JWTSVIDResponse(svids=[self.jwt_svid(signer, list(request.audience)) for signer in signers])

    def jwt_svid(self, signer, audience):
        key, now = (signer["id"], *sorted(audience)), time.time()
        kept = self.signed.get(key)
        if kept is None or now >= kept[0]:
            kept = self.signed[key] = (now + signer["seconds"] / 2, jwt_svid(signer, audience))
        return kept[1]

    async def no_identity(self, context):
        if self.mode == "serve":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")


def x509_svids(state):
    svids = [
        pb.X509SVID(
            spiffe_id=one["id"],
            x509_svid=der(one["chain"]),
            x509_svid_key=der(one["key"]),
            bundle=der(one["bundle"]),
            hint=one.get("hint", ""),
        )
        for one in state.get("x509", [])
    ]
    federated = {domain: der(bundle) for domain, bundle in state.get("federated", {}).items()}
    return pb.X509SVIDResponse(svids=svids, federated_bundles=federated)


def x509_bundles(state):
    bundles = {domain: der(bundle) for domain, bundle in state.get("x509_bundles", {}).items()}
    return pb.X509BundlesResponse(bundles=bundles)


def jwt_bundles(state):
    bundles = {domain: json.dumps(keys).encode() for domain, keys in state.get("jwt_bundles", {}).items()}
    return pb.JWTBundlesResponse(bundles=bundles)


def jwt_svid(signer, audience):
    now = int(time.time())
    claims = {"sub": signer["id"], "aud": signer.get("audience", audience), "iat": now, "exp": now + signer["seconds"]}
    claims |= signer.get("claims", {})
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(claims, signer["key"], algorithm=signer["alg"], headers={"kid": signer["kid"]})
    return pb.JWTSVID(spiffe_id=signer["id"], svid=token, hint=signer.get("hint", ""))


async def main(path, port):
    workload = Workload()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    rpc.add_SpiffeWorkloadAPIServicer_to_server(workload, server)
    # What a server that was killed left behind.
    if os.path.exists(path):
        os.unlink(path)
    server.add_insecure_port(f"unix:{path}")
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await workload.control(json.loads(line))), flush=True)
    await server.stop(grace=None)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
