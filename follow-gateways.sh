#!/bin/sh
# Starts NGINX, and reloads it whenever the addresses behind the name `gateway` have changed: NGINX looks names up only when it starts
# and when it reloads. A reload drops nothing: the old workers finish what they have.
set -u
name=gateway
every_s=1

addresses() { getent ahostsv4 "$name" | cut -d ' ' -f 1 | sort -u; }

# Without one address NGINX would not start.
until [ -n "$(addresses)" ]; do
  echo "waiting for an address of $name" >&2
  sleep "$every_s"
done

follow() {
  known=$1
  before=$known
  while sleep "$every_s"; do
    now=$(addresses)
    # Twice the same: gateways that start or stop together cost one reload. None at all: the name server is away, or nothing
    # is better than what NGINX has.
    if [ -n "$now" ] && [ "$now" = "$before" ] && [ "$now" != "$known" ]; then
      # NGINX, process 1, goes on with what it has if it cannot take the new; then the next round tries again.
      nginx -t -q && kill -HUP 1 && known=$now && echo "gateways: $(echo "$now" | tr '\n' ' ')" >&2
    fi
    before=$now
  done
}

follow "$(addresses)" &
# Process 1 is NGINX itself: the container's signals and exit code are its own.
exec nginx -g 'daemon off;'
