"""PyPI's aiosmtpd as the mail server, for mailserver.js: what is handed over is written to stdout, one JSON object a line;
what has to go wrong is read from stdin, likewise.

Its one argument is an object: `certificate` and `key`, files with which STARTTLS is offered, and demanded; `user` and `password`,
with which a client has to sign in; `mechanism`, the only way to do so, PLAIN or LOGIN.
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult


def tell(event, **members):
    print(json.dumps({"event": event, **members}), flush=True)


class Letters:
    """Takes letters, unless it is to fail: a fault is `{at, answer, to, times}`, `at` one of "recipient" and "data". Where the
    `answer` is "drop" it hangs up, and where there is none it waits until it is let go."""

    def __init__(self):
        self.faults = []
        self.held = []
        self.number = 0

    def fault(self, at, recipients):
        for fault in self.faults:
            if fault["at"] == at and fault["times"] > 0 and fault.get("to") in (None, *recipients):
                fault["times"] -= 1
                return fault
        return None

    async def handle_RCPT(self, server, session, envelope, address, options):
        fault = self.fault("recipient", [address])
        if fault:
            tell("refused", to=address, answer=fault["answer"])
            return fault["answer"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.number += 1
        number = self.number
        message = message_from_bytes(envelope.content, policy=policy.default)
        part = lambda kind: message.get_body((kind,)).get_content()
        tell(
            "letter",
            number=number,
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            headers=[[name, str(value)] for name, value in message.items()],
            text=part("plain"),
            html=part("html"),
            parts=[each.get_content_type() for each in message.walk()],
            encrypted=session.ssl is not None,
            user=getattr(session, "auth_data", None),
        )
        answer = await self.answer(server, envelope)
        tell("answered", number=number, answer=answer)
        return answer or "250 Nobody hears this"

    async def answer(self, server, envelope):
        fault = self.fault("data", envelope.rcpt_tos)
        if not fault:
            return "250 Taken"
        if fault.get("answer") == "drop":
            server.transport.abort()
            return None
        if "answer" in fault:
            return fault["answer"]
        self.held.append(held := asyncio.get_running_loop().create_future())
        try:
            await held
        except asyncio.CancelledError:  # whoever waited is gone
            return None
        return "250 Taken"

    def obey(self, line):
        order = json.loads(line)
        if "fail" in order:
            self.faults.insert(0, order["fail"])
        elif "release" in order:
            while self.held:
                held = self.held.pop()
                if not held.done():
                    held.set_result(None)


def authenticator(user, password):
    def check(server, session, envelope, mechanism, data):
        right = data.login.decode() == user and data.password.decode() == password
        tell("signed in" if right else "kept out", mechanism=mechanism, encrypted=session.ssl is not None)
        return AuthResult(success=right, handled=False, auth_data=user)

    return check


async def main(wanted):
    loop = asyncio.get_running_loop()
    letters = Letters()
    options = {}
    if "certificate" in wanted:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(wanted["certificate"], wanted["key"])
        options.update(tls_context=context, require_starttls=True)
    if "user" in wanted:
        other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[wanted["mechanism"]]
        options.update(
            authenticator=authenticator(wanted["user"], wanted["password"]),
            auth_required=True,
            auth_require_tls="certificate" in wanted,
            auth_exclude_mechanism=[other],
        )
    server = await loop.create_server(
        lambda: SMTP(letters, hostname="mail.example", enable_SMTPUTF8=True, loop=loop, **options), "127.0.0.1", 0
    )
    tell("listening", port=server.sockets[0].getsockname()[1])
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():  # until whoever started this is gone
        letters.obey(line)
        tell("obeyed")


asyncio.run(main(json.loads(sys.argv[1])))
