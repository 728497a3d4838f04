# shellcheck shell=bash
# Sourced by the launchers beside it, after _env.sh: dry runs, and what every launcher asks of its command line.
#
#   refuse MESSAGE           one line on stderr and exit status 2, for what the user can put right
#   act COMMAND...           runs a command; prints it instead where `dry` is set
#   act_either TEST -- COMMAND... -- OTHER...    the command where TEST succeeds, the other where it fails
#   feed COMMAND...          likewise a command that reads our stdin, which is printed as a here-document
#   quoted WORD...           the words as a shell would read them back
#   whole VALUE OPTION       refuses what is not a whole number above 0
#   once ARGUMENT            refuses an option that was given before
#   take_action NAME         sets `action`, and refuses a second one
#   no_training "$@"         refuses arguments after `--`, for an action that starts no training
#   needs TOOL               refuses to go on without it, unless `dry` is set
#   take_training HERE "$@"  the arguments of hcflow_jax.main, after `--`: sets `training` and `workdir`; a relative
#                            workdir is below HERE, and refused where that is empty: on another machine. Workdirs in
#                            gs:// are refused unless `buckets` is set. The config is a preset or a file in
#                            configs/; where `shared` is set, any file of the repository, below HERE or absolute. Sets
#                            `stores` to ,gcs and ,s3, the extras that the arguments' paths in buckets need
#   bucket_path PATH OPTION  refuses what is not gs://BUCKET or gs://BUCKET/NAME
#   below DIR PATH           whether an absolute path is below DIR
#   beside WORKDIR           prints the folder of compiled programs for runs in a bucket: beside their workdirs
#
# A launcher's own options stand before `--` and are checked here, before anything is paid for; what stands after it
# is hcflow_jax.main's. What a dry run prints is itself a script: a command a line.

dry="" buckets="" shared="" stores="" action="" given=" "

refuse() { printf 'error: %s\n' "$*" >&2; exit 2; }

# The lines of the script's first comment.
show_help() { sed -n '2,/^set /{s/^# \{0,1\}//p;}' "$1"; exit 0; }

quoted() {
  local word line=""
  for word in "$@"; do
    if [[ ! "$word" =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then word="'${word//\'/\'\\\'\'}'"; fi
    line="$line $word"
  done
  printf '%s\n' "${line# }"
}

act() { if [ -n "$dry" ]; then quoted "$@"; else "$@"; fi; }

act_either() {
  local tested=() yes=()
  while [ "$1" != -- ]; do tested+=("$1"); shift; done
  shift
  while [ "$1" != -- ]; do yes+=("$1"); shift; done
  shift
  if [ -n "$dry" ]; then
    printf 'if %s; then %s; else %s; fi\n' "$(quoted "${tested[@]}")" "$(quoted "${yes[@]}")" "$(quoted "$@")"
  elif "${tested[@]}" >/dev/null 2>&1; then
    "${yes[@]}"
  else
    "$@"
  fi
}

feed() {
  if [ -n "$dry" ]; then
    printf '%s <<"END"\n%s\nEND\n' "$(quoted "$@")" "$(cat)"
  else
    "$@"
  fi
}

bucket_path() {
  local name="${1#gs://}"
  [[ "$1" != gs:/* || "$1" = gs://* ]] || refuse "$2=$1: write gs:// with two slashes"
  [[ "$1" = gs://* ]] || refuse "$2=$1: expected gs://BUCKET or gs://BUCKET/NAME"
  [[ "${name%%/*}" =~ ^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$ && "${name%%/*}" != *..* ]] \
    || refuse "$2=$1: a bucket's name has 3 to 63 lower-case letters, digits, -, _ and single dots; letters or digits begin and end it"
  [[ "/$name/" != */../* ]] || refuse "$2=$1: .. cannot be a part of a path in a bucket"
  [[ "$name" =~ ^[A-Za-z0-9._/-]*$ ]] || refuse "$2=$1: a path in a bucket has letters, digits, -, _, . and /"
}

below() { [[ "$2" = "$1"/?* && "$2/" != */../* ]]; }

beside() { printf '%s/.xla\n' "${1%/*}"; }

# Few enough digits for the shell's own numbers.
whole() { [[ "$1" =~ ^[1-9][0-9]{0,5}$ ]] || refuse "$2=$1: expected a whole number above 0, of at most 6 digits"; }

once() { [[ "$given" != *" ${1%%=*} "* ]] || refuse "${1%%=*}: given twice"; given="$given${1%%=*} "; }

take_action() { [ -z "$action" ] || refuse "$action and $1: name one of them"; action="$1"; }

no_training() { [ $# -le 1 ] || refuse "$2: $action takes no arguments after --"; }

# What DNS, file names and every scheduler take.
plain_name() { [[ "$1" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || refuse "$2=$1: expected lower-case letters, digits and -, at most 40"; }

needs() { [ -n "$dry" ] || command -v "$1" >/dev/null 2>&1 || refuse "$1 is not installed here; --dry-run shows what would be done"; }

take_training() {
  local here="$1" argument config="" mode=train gcs="" s3=""
  shift
  training=()
  workdir=""
  for argument in "$@"; do
    case "$argument" in
      --config=*)
        config="$(found_config "$here" "${argument#*=}")"
        [ -n "$config" ] || refuse "$argument: no such file or preset in $ROOT$([ -n "$shared" ] || echo /configs)"
        argument="--config=$config"
        ;;
      --workdir=*)
        workdir="${argument#*=}"
        case "$workdir" in
          /* | "") ;;
          gs:/*)
            [ -n "$buckets" ] || refuse "$argument: this launcher needs a workdir on the machines' file systems; mount the bucket and name its folder"
            bucket_path "$workdir" --workdir
            [[ "$workdir" =~ ^(gs://[^/]+)/+[^/] ]] || refuse "$argument: name a folder in the bucket, such as ${workdir%%"${workdir##*[!/]}"}/runs/a"
            ;;
          *://*) refuse "$argument: not on a machine's file systems; name a folder${buckets:+ or gs://BUCKET/NAME}" ;;
          \~ | \~/*)
            [ -n "$here" ] || refuse "$argument: name its whole path on the machines that train, all of which share it"
            workdir="$HOME${workdir#\~}"
            ;;
          *)
            [ -n "$here" ] || refuse "$argument: name its whole path on the machines that train, all of which share it"
            workdir="$here/$workdir"
            [[ "$here" != gs://* ]] || bucket_path "$workdir" --workdir
            ;;
        esac
        argument="--workdir=$workdir"
        ;;
      --mode=*) mode="${argument#*=}" ;;
      --coordinator_address* | --num_processes* | --process_id*) refuse "$argument: the launcher sets that itself" ;;
      --*) ;;
      *) refuse "$argument: arguments of hcflow_jax.main are of the form --NAME=VALUE" ;;
    esac
    case "${argument#*=}" in
      gs://*) gcs=1 ;;
      s3://*) s3=1 ;;
      gs:/* | s3:/*) refuse "$argument: write gs:// or s3:// with two slashes" ;;
    esac
    training+=("$argument")
  done
  stores="${gcs:+,gcs}"
  stores="$stores${s3:+,s3}"
  [ -n "$workdir" ] || refuse "--workdir=DIR is missing after --: where are checkpoints, samples and metrics to go?"
  [ -n "$config" ] || [ "$mode" = eval ] || refuse "--config=FILE is missing after --: name a file of configs/"
}

# Prints a config as hcflow_jax.main finds it from the repository's root; prints nothing if there is no such config.
# What stands after a colon is the argument of the config file.
found_config() {
  local here="$1" given="$2" file="${2%%:*}"
  if [ -f "$ROOT/configs/$file.py" ] || { [ -f "$ROOT/$file" ] && [[ -n "$shared" || "$file" =~ ^(\./)?configs/ ]]; }; then
    printf '%s\n' "$given"
  elif [ -n "$shared" ] && [ -n "$file" ]; then
    case "$file" in
      /*) ;;
      \~/*) file="$HOME${file#\~}" ;;
      *) file="$here/$file" ;;
    esac
    [ ! -f "$file" ] || printf '%s\n' "$file${given#"${given%%:*}"}"
  fi
}
