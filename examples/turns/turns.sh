#!/bin/sh
# Tell Umpire what is said in a conversation, with curl: sh examples/turns/turns.sh
# $UMPIRE is where umpire serve listens. Without TCP: curl --unix-socket ~/.local/state/umpire/umpire.sock http://umpire/v1/turns …
set -eu
umpire=${UMPIRE:-http://127.0.0.1:7777}
say() { curl --silent --show-error --fail-with-body "$umpire/v1/turns" --header 'Content-Type: application/json' --data "$1"; }

say '{"agent": "rent-bot", "conversation": "42", "turn": "1", "role": "user", "text": "Please pay the rent."}'
say '{"agent": "rent-bot", "conversation": "42", "turn": "2", "role": "assistant", "text": "I look it up.", "calls": ["call_1"]}'
say '{"agent": "rent-bot", "conversation": "42", "turn": "3", "role": "tool", "text": "Rent: 980.00, to DE02…", "calls": ["call_1"]}'
