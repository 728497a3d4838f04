# shellcheck shell=bash
# shellcheck disable=SC2154 # the launcher sets the variables
# Sourced by tpu_pod.sh, after _launch.sh: the request for the machines, in the cloud's queue.
#
#   obtain                   requests the TPU unless that is done, and waits until it is there
#   look                     sets `now` to the state of the request, and `why` to the error of a cloud that does not say
#   gone                     whether the machines are gone, of a request that could be made again

HOUR="${HCFLOW_HOUR_SECONDS:-3600}" # of --wait; less in the tests

request() {
  local what=("--accelerator-type=$kind" "--runtime-version=$version")
  if [ "$slices" -gt 1 ]; then what+=("--node-count=$slices" "--node-prefix=$name"); else what+=("--node-id=$name"); fi
  [ -z "$spot" ] || what+=(--spot)
  act "${requests[@]}" create "$name" "${where[@]}" "${what[@]}" "--valid-until-duration=${hours}h"
}

# Sets `now` to the state of the request in the cloud's words: NONE if there is no request, UNKNOWN if the cloud does not
# say; then `why` is its error. Ends the script for errors that do not pass.
look() {
  local said
  now="" why=""
  if said="$("${describe[@]}" 2>&1)"; then
    now="$(grep -xE '[A-Z_]+' <<<"$said" | tail -n 1)" || true
    now="${now:-UNKNOWN}"
  elif [[ "$said" = *NOT_FOUND* ]]; then
    now=NONE
  else
    now=UNKNOWN
    why="$(grep -m 1 ^ERROR <<<"$said" || tail -n 1 <<<"$said")"
    case "$said" in
      *PERMISSION_DENIED* | *INVALID_ARGUMENT* | *UNAUTHENTICATED* | *"active account"* | *Reauthentication* | \
        *"has not been used in project"* | *"required property"*) refuse "the cloud does not show the request $name: $why" ;;
    esac
  fi
}

# Gives back a request whose machines are gone.
remove() {
  "${requests[@]}" delete "$name" "${where[@]}" --force --quiet && return
  look
  [[ "$now" != FAILED && "$now" != SUSPENDED ]] || refuse "the cloud did not delete the request $name (see above)"
}

# Requests the TPU unless that is done, and waits until it is there.
obtain() {
  local before="" asked="" answered=$SECONDS
  if [ -n "$dry" ]; then
    printf '%s || %s\n' "$(quoted "${describe[@]}")" "$(request)"
    # shellcheck disable=SC2016 # the printed script expands it
    printf 'until [ "$(%s)" = ACTIVE ]; do sleep %s; done\n' "$(quoted "${describe[@]}")" "$POLL"
    return
  fi
  while :; do
    look
    [ "$now$why" = "$before" ] || say "the request $name: $now${why:+ ($why)}"
    before="$now$why"
    [ "$now" = UNKNOWN ] || answered=$SECONDS
    case "$now" in
      ACTIVE) return ;;
      FAILED)
        [ -z "$asked" ] || refuse "the cloud did not fill the request $name: $("${describe[@]/state.state/state}" 2>/dev/null | tail -n 1)"
        remove
        ;;
      SUSPENDED) remove ;; # its machines were taken back
      NONE)
        # The request may be there although the answer was lost.
        request || { look; [ "$now" != NONE ] || refuse "the cloud refused the request $name (see above)"; }
        asked=1
        ;;
      UNKNOWN)
        [ $((SECONDS - answered)) -lt $((hours * HOUR)) ] || refuse "--wait=$hours: the cloud did not show the request $name for so many hours: $why"
        ;;
    esac
    sleep "$POLL" # in WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDING, DELETING, too
  done
}

gone() { [ -n "$kind" ] && { look; [ "$now" != ACTIVE ]; }; }
