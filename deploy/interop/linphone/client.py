#!/usr/bin/env python3
"""One Linphone: its library, unmodified, without a window; told what to do by lines, and it says what it shows.

    client.py HOME SIP-PORT SERVER-PORT udp|tcp USER@DOMAIN [--list URI] FRIEND...

Commands on standard input: `online`, `busy`, `do-not-disturb`, `offline`, `lunch NOTE`, `quit`. On standard output a
JSON object for each change: `{"registered": …}`, `{"friend": …, "shown": …, "activity": …, "note": …}`.
"""
import ctypes
import json
import os
import select
import sys
import time

LIBRARY = "liblinphone.so.10"
PRESENCES = ("online", "busy", "do-not-disturb", "offline")
# LinphonePresenceActivityType, as far as a note goes with one here.
LUNCH, ON_THE_PHONE = 8, 11
ACCEPT = 2
SETTINGS = """[sip]
default_proxy=0
sip_port={port}
sip_tcp_port={port}
sip_tls_port=-1
register_only_when_network_is_up=0
guess_hostname=0
contact=sip:{user}@127.0.0.1
[proxy_0]
reg_proxy=<sip:127.0.0.1:{server};transport={transport}>
reg_route=<sip:127.0.0.1:{server};transport={transport}>
reg_identity=sip:{user}@{domain}
reg_expires=600
reg_sendregister=1
publish=1
publish_expires=120
"""


def library():
    """The library, with the types of what is called."""
    found = ctypes.CDLL(LIBRARY)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("factory_get", pointer, []),
        ("factory_create_core_3", pointer, [pointer, text, text, pointer]),
        ("core_start", number, [pointer]),
        ("core_stop", None, [pointer]),
        ("core_iterate", None, [pointer]),
        ("core_get_default_friend_list", pointer, [pointer]),
        ("core_create_friend_with_address", pointer, [pointer, text]),
        ("core_enable_friend_list_subscription", None, [pointer, ctypes.c_ubyte]),
        ("core_set_consolidated_presence", None, [pointer, number]),
        ("core_set_presence_model", None, [pointer, pointer]),
        ("core_create_presence_model_with_activity_and_note", pointer, [pointer, number, text, text, text]),
        ("core_get_default_proxy_config", pointer, [pointer]),
        ("proxy_config_get_state", number, [pointer]),
        ("friend_list_set_rls_uri", None, [pointer, text]),
        ("friend_list_add_friend", number, [pointer, pointer]),
        ("friend_list_update_subscriptions", None, [pointer]),
        ("friend_enable_subscribes", number, [pointer, ctypes.c_ubyte]),
        ("friend_set_inc_subscribe_policy", number, [pointer, number]),
        ("friend_get_consolidated_presence", number, [pointer]),
        ("friend_get_presence_model", pointer, [pointer]),
        ("presence_model_get_activity", pointer, [pointer]),
        ("presence_activity_to_string", pointer, [pointer]),
        ("presence_model_get_note", pointer, [pointer, text]),
        ("presence_note_get_content", text, [pointer]),
        ("logging_service_get", pointer, []),
        ("logging_service_set_log_level", None, [pointer, number]),
    ):
        function = getattr(found, "linphone_" + name)
        function.restype, function.argtypes = result, arguments
    return found


def main():
    arguments = sys.argv[1:]
    home, port, server, transport, identity = arguments[:5]
    friends = arguments[5:]
    rls = None
    if friends[:1] == ["--list"]:
        rls, friends = friends[1], friends[2:]
    user, domain = identity.split("@")
    for folder in (".local/share/linphone", ".config/linphone"):
        os.makedirs(os.path.join(home, folder), exist_ok=True)
    os.environ["HOME"] = home
    settings = os.path.join(home, "linphonerc")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(SETTINGS.format(port=port, server=server, transport=transport, user=user, domain=domain))

    lib = library()
    # It writes its log to standard output, between our lines: only what ends it, unless LINPHONE_LOG asks for all.
    level = 1 << 2 if "LINPHONE_LOG" in os.environ else 1 << 5
    lib.linphone_logging_service_set_log_level(lib.linphone_logging_service_get(), level)
    core = lib.linphone_factory_create_core_3(lib.linphone_factory_get(), settings.encode(), None, None)
    known = lib.linphone_core_get_default_friend_list(core)
    if rls:
        lib.linphone_friend_list_set_rls_uri(known, rls.encode())
    watched = {}
    for friend in friends:
        watched[friend] = one = lib.linphone_core_create_friend_with_address(core, f"sip:{friend}".encode())
        lib.linphone_friend_enable_subscribes(one, 1)
        lib.linphone_friend_set_inc_subscribe_policy(one, ACCEPT)
        lib.linphone_friend_list_add_friend(known, one)
    lib.linphone_core_enable_friend_list_subscription(core, 1)
    lib.linphone_core_start(core)

    def shown(friend):
        model = lib.linphone_friend_get_presence_model(friend)
        state = {"shown": PRESENCES[lib.linphone_friend_get_consolidated_presence(friend)]}
        if model:
            activity = lib.linphone_presence_model_get_activity(model)
            if activity:
                name = lib.linphone_presence_activity_to_string(activity)
                state["activity"] = ctypes.string_at(name).decode()
            note = lib.linphone_presence_model_get_note(model, None)
            if note:
                state["note"] = (lib.linphone_presence_note_get_content(note) or b"").decode()
        return state

    def say(event):
        print(json.dumps(event), flush=True)

    last, registered, asked = {}, None, False
    while True:
        lib.linphone_core_iterate(core)
        account = lib.linphone_core_get_default_proxy_config(core)
        # LinphoneRegistrationOk is 2.
        now = bool(account) and lib.linphone_proxy_config_get_state(account) == 2
        if now != registered:
            registered = now
            say({"registered": now})
            if now and not asked:
                asked = True
                lib.linphone_friend_list_update_subscriptions(known)
        for name, friend in watched.items():
            state = shown(friend)
            if last.get(name) != state:
                last[name] = state
                say({"friend": name, **state})
        if not select.select([sys.stdin], [], [], 0.02)[0]:
            continue
        command, _, rest = sys.stdin.readline().strip().partition(" ")
        if command in PRESENCES:
            lib.linphone_core_set_consolidated_presence(core, PRESENCES.index(command))
        elif command in ("lunch", "on-the-phone"):
            activity = LUNCH if command == "lunch" else ON_THE_PHONE
            model = lib.linphone_core_create_presence_model_with_activity_and_note(
                core, activity, None, rest.encode() or None, b"en")
            lib.linphone_core_set_presence_model(core, model)
        else:
            break
    lib.linphone_core_stop(core)
    # What was begun above ends in the background for some turns.
    until = time.monotonic() + 1
    while time.monotonic() < until:
        lib.linphone_core_iterate(core)
        time.sleep(0.02)


main()
