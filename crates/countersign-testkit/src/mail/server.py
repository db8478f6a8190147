import asyncio, json, ssl, sys, threading
from aiosmtpd.smtp import SMTP, AuthResult

kind, user, password, certificate, key = sys.argv[1:6]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


# Marks are said by a thread of their own; a line is one line all the same.
one = threading.Lock()


def say(what):
    with one:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def login(server, session, envelope, mechanism, data):
    say({"login": mechanism})
    return AuthResult(success=(data.login.decode() == user and data.password.decode() == password), handled=False)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return {
            "reject": "550 5.1.1 no such user",
            "later": "451 4.3.0 try again",
            "busy": "450 4.7.1 slow down",
        }.get(address.split("@")[0], "250 OK")

    async def handle_DATA(self, server, session, envelope):
        say({"from": envelope.mail_from, "to": envelope.rcpt_tos, "data": envelope.content.decode()})
        first = envelope.rcpt_tos[0].split("@")[0]
        if first == "lost":
            server.transport.abort()
        if first == "hang":
            await asyncio.sleep(3600)
        return "250 accepted"


def session():
    return SMTP(
        Handler(),
        hostname="mail.test",
        authenticator=login,
        auth_required=True,
        auth_require_tls=kind == "starttls",
        require_starttls=kind == "starttls",
        tls_context=context if kind == "starttls" else None,
        enable_SMTPUTF8=False,
    )


async def serve():
    loop = asyncio.get_running_loop()
    tls = context if kind == "implicit" else None
    server = await loop.create_server(session, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def marks():
    for line in sys.stdin:
        say({"mark": line.strip()})


# Whoever waits for a mark has heard everything that was said before it.
threading.Thread(target=marks, daemon=True).start()
asyncio.run(serve())
