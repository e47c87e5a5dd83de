#!/usr/bin/env bash
# Builds a project with the Lambdasmith builder and deploys it as a Lambda function.
#
# usage: deploy.sh [option...] [component...]
#        deploy.sh --package DIR | --unpack DIR [option...] [component...]
#        deploy.sh --rollback | --verify | --status [option...] [BUILD]
#        deploy.sh --history [option...] [N]
#
# Copy this one file into the directory of your build.yaml. It needs bash and the AWS CLI (1 or 2), nothing else; git
# where there is a repository.
# What is not pushed or not committed is no part of it, unless -s sends it; that is said before and after.
# Components are `function`, `dependencies` and the names of your layers; without any, all are brought up to date.
#
#   -a ALIAS          let this alias point to the new version
#   -b GIT_BRANCH     branch, tag or commit to build      (default: what is checked out here, else the default branch)
#   -c CONFIG_FILE    settings                            (default: config.ini beside this file, if it is there)
#   -f FUNCTION_NAME  function to deploy                  (default: the name of this file's directory)
#   -g GIT_REPO       URL, owner/name, or a plain name    (default: git's origin, else the name of the directory)
#   -i PAYLOAD.json   invoke what was deployed with this event, and show its answer and the end of its log; with -a before
#                     the alias moves. Its error fails the deploy. Also where nothing had to be changed
#   -l LOG_FILE       every run is appended to it         (default: deploy.log beside this file)
#   -p AWS_PROFILE    profile of the AWS CLI
#   -r AWS_REGION     region of the builder
#   -s [DIR]          send the files that are here instead of building what git's server has (also: --send): changes that
#                     are not committed included, without what git ignores or a .lambdaignore names in the same syntax,
#                     and without .env, keys, .venv and the like (docs/reference.md), unless committed or named in `files`.
#                     With DIR, written with a slash or a dot, all is as if this file were in that directory
#   -w WEIGHT         part of the alias's traffic that the new version gets: 0.1 is a tenth   (default: all)
#   -B BUILDER        name of the builder function        (default: lambdasmith)
#   -t                show how long each phase took
#   -v                publish a version
#   -y                do not ask
#   -n                only show what would be built and published, or what --rollback would change; changes nothing
#   -h                this help
#   --upgrade         resolve the dependencies anew instead of using those that were locked
#   --force           build anew even what was built before
#
# Instead of a deploy:
#
#   --package DIR       build, and bring what Lambda would get: DIR/function.zip, DIR/layers/NAME.zip and the reply as
#                       DIR/build.json. A zip whose content has not changed is not touched
#   --unpack DIR        build, and put the files of one component (default: function) into DIR, which is empty or not there
#   --rollback [BUILD]  return to that build, without one to the build before the present; with -a by moving the alias
#   --history [N]       the function's last N deploys     (default: 20)
#   --status [BUILD]    follow that build to its end; without one: the last builds (with -f of that function), and
#                       the storage that is used
#   --verify [BUILD]    build what is deployed (or what that build deployed) again and compare, byte for byte
#
# The same in config.ini, and in the environment (an empty value counts as none; flags win over the environment, the
# environment over the file; AWS_PROFILE, AWS_REGION and AWS_ACCESS_KEY_ID count as environment):
#
#   [deploy]  function repo branch alias invoke log          LAMBDASMITH_DEPLOY_FUNCTION, ..._REPO, and so on
#             components version time yes plan               LAMBDASMITH_DEPLOY_VERSION, and so on (true or false)
#   [aws]     aws_profile aws_region                         LAMBDASMITH_AWS_AWS_PROFILE, LAMBDASMITH_AWS_AWS_REGION
#             aws_access_key_id aws_secret_access_key        LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID, and so on
#   [builder] function_name                                  LAMBDASMITH_BUILDER_FUNCTION_NAME
#
# The original implementation's keys are read as well: function_name, git_repo, git_branch, log_file and
# prompt_before_deploy in [deploy], in [aws] or before any section.
#
# When the connection breaks or Ctrl-C is pressed the build goes on in the builder: --status BUILD shows its end. A
# command that is repeated with LAMBDASMITH_BUILD_ID=BUILD gets the answer of that build: no id is ever built twice.
#
#   LAMBDASMITH_CONFIG=FILE        as -c
#   LAMBDASMITH_READ_TIMEOUT=S     longest wait for one answer in seconds (default 0: no limit)
#   LAMBDASMITH_FOLLOW_LIMIT=S     give up on a build after so many seconds (default 960)
#   LAMBDASMITH_DEBUG=1            trace this script
#
# exit: 0 done   1 the builder refused or failed, or --verify found a difference
#       2 wrong usage or configuration, or nobody there to confirm   3 AWS, the AWS CLI or the network
#       4 the builder itself broke   5 not confirmed   130 interrupted

# shellcheck disable=SC2016  # awk's dollars

set -u -o pipefail
umask 077
unset CDPATH   # with it, cd prints where it went

NL='
'
TMP='' CALL='' POLL='' LOG='' PART='' DRAWN='' PROBLEMS=() UNHINTED='' ONLY_HERE='' REPLY_ROOT='' WALL='' BROUGHT=''

# ---------------------------------------------------------------------------------------------- output

# Progress and messages go to stderr, results to stdout, both to the log.
say() {
    clear_line
    make_plain "$*"
    printf '%s\n' "$PLAIN" >&2
    record "$PLAIN"
}

result() {
    printf '%s\n' "$1"
    record "$1"
}

record() {
    [ -n "$LOG" ] || return 0
    local now line
    make_plain "$1"
    if [ -n "$TMP" ]; then   # not by $(...): see follow
        date '+%Y-%m-%dT%H:%M:%S%z' >"$TMP/now"
        IFS= read -r now <"$TMP/now"
    else
        now=$(date '+%Y-%m-%dT%H:%M:%S%z')
    fi
    while IFS= read -r line; do
        printf '%s %s\n' "$now" "$line"
    done <<<"$PLAIN" >&9
}

# Sets PLAIN to a text without what a terminal would obey. Most texts have nothing of it, and then no process is started.
make_plain() { # TEXT
    local LC_ALL=C
    PLAIN=$1
    case $PLAIN in
        *[$'\001'-$'\010'$'\013'-$'\037'$'\177']* | *$'\302'* | *$'\330\234'* | *$'\342\200'* | *$'\342\201'* | *$'\357\273\277'* | *$'\363\240'*)
            PLAIN=$(printf '%s\n' "$PLAIN" | printable)
            ;;
    esac
}

# No terminal sequences, turned directions or invisible characters out of other people's output: C0 goes, what is left of a
# sequence is harmless; C1 and the others, in UTF-8, become question marks, since what stood around them must not join.
# With `colour` the colours stay.
printable() { # [colour]
    LC_ALL=C tr -d '\000-\010\013-\032\034-\037\177' | LC_ALL=C awk -v colour="${1:-}" '
        /\033/ {
            if (colour == "colour") { gsub(/\033\[[0-9;]*m/, "\001&"); gsub(/\001\033/, "\001") }
            gsub(/\033/, ""); gsub(/\001/, "\033")
        }
        /[\302\330\342\357\363]/ {
            gsub(/\302[\200-\237\255]|\330\234|\342\200[\213-\217\250-\256]|\342\201[\240-\257]|\357\273\277/, "?")
            gsub(/\363\240[\200-\277][\200-\277]/, "?")
        }
        { print }'
}

die() { # CODE MESSAGE [HINT]
    say "deploy.sh: $2"
    [ -z "${3:-}" ] || say "hint: $3"
    leave "$1"
}

leave() { # CODE
    TIMEFORMAT=''   # else an unfinished `time` tells the terminal how long it took
    exit "$1"
}

# Notes what is wrong with the way this was called or configured; `refuse_wrong_use` tells all of it at once.
problem() { # MESSAGE [HINT]
    PROBLEMS+=("deploy.sh: $1${2:+${NL}hint: $2}")
    [ -n "${2:-}" ] || UNHINTED=true
}

refuse_wrong_use() {
    [ ${#PROBLEMS[@]} -gt 0 ] || return 0
    local told
    for told in "${PROBLEMS[@]}"; do say "$told"; done
    [ -z "$UNHINTED" ] || say 'hint: deploy.sh -h lists the options'
    exit 2
}

live() { [ -t "${1:-2}" ] && [ "${TERM:-dumb}" != dumb ]; }

draw() { # one line that is drawn over, on a terminal only
    if [ "$1" = "$DRAWN" ] || ! live; then return 0; fi
    DRAWN=$1
    local width=''
    ! tput cols >"$TMP/width" 2>/dev/null || read -r width <"$TMP/width"   # not by $(...): see follow
    [ "${width:-0}" -gt 20 ] || width=80
    width=$((width - 1))   # a full line would wrap
    make_plain "$1"
    printf '\r\033[K%s' "${PLAIN:0:$width}" >&2
}

clear_line() {
    [ -n "$DRAWN" ] || return 0
    DRAWN=''
    printf '\r\033[K' >&2
}

show_help() { sed -n -e 1d -e '/^#/!q' -e 's/^# \{0,1\}//p' "$SCRIPT"; }

# ---------------------------------------------------------------------------------------------- where we are

has_build_file() { [ -f "$1/build.yaml" ] || [ -f "$1/build.yml" ] || [ -f "$1/build.json" ]; }

# Sets SCRIPT and PROJECT. Behind a symbolic link the project is the first directory on the way that has a build file:
# a link to a shared deploy.sh belongs to the link's directory, a link in ~/bin to the directory it points to.
find_project() { # PATH of this file
    local file=$1 directory first='' hops=0
    SCRIPT=$file
    while :; do
        directory=$(cd "$(dirname "$file")" && pwd -P) || exit 2
        [ -n "$first" ] || first=$directory
        if has_build_file "$directory"; then
            PROJECT=$directory
            return
        fi
        if ! [ -L "$file" ] || [ $hops -ge 40 ]; then break; fi
        hops=$((hops + 1))
        file=$(readlink "$file")
        case $file in /*) ;; *) file=$directory/$file ;; esac
    done
    PROJECT=$first
}

plain_git() (
    # A hook that runs us has set these for its own repository.
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
    LC_ALL=C exec git "$@"
)
ask_git() { plain_git -C "$PROJECT" "$@" 2>&1; }

# Sets GIT_TOP (empty without a work tree), GIT_SUBDIRECTORY, GIT_REF, GIT_ORIGIN and, where git refuses, GIT_TROUBLE.
read_git() {
    GIT_TOP='' GIT_SUBDIRECTORY='' GIT_REF='' GIT_ORIGIN='' GIT_TROUBLE=''
    command -v git >/dev/null || return 0
    local answer
    if ! answer=$(ask_git rev-parse --show-toplevel); then
        case $answer in
            *"not a git repository"*) ;;
            *)
                GIT_TROUBLE=${answer%%"$NL"*}
                say "note: git says: $GIT_TROUBLE"
                ;;
        esac
        return 0
    fi
    GIT_TOP=$answer
    answer=$(ask_git rev-parse --show-prefix) && GIT_SUBDIRECTORY=${answer%/}
    if answer=$(ask_git symbolic-ref --short HEAD) || answer=$(ask_git rev-parse --verify 'HEAD^{commit}'); then
        GIT_REF=$answer
    fi
    answer=$(ask_git remote get-url origin) && GIT_ORIGIN=$(https_url "$answer")
}

# Prints the https URL of a git remote, without credentials; nothing when the builder could not reach it.
https_url() {
    local scheme=https host path
    case $1 in
        http://* | https://*) scheme=${1%%://*} ;;
        ssh://* | git://* | git+ssh://*) ;;
        *://* | /* | .* | '~'* | [A-Za-z]:[\\/]*) return ;;
        *:*)
            https_url "ssh://${1%%:*}/${1#*:}"
            return
            ;;
        *) return ;;
    esac
    host=${1#*://}
    path=${host#*/}
    host=${host%%/*}
    host=${host##*@}
    while [ "$path" != "${path#/}" ]; do path=${path#/}; done
    case $1 in
        http://* | https://*) ;;
        *)
            host=${host%:*}                            # the port is ssh's
            case $host in *.*) ;; *) return ;; esac    # a name out of ~/.ssh/config
            ;;
    esac
    printf '%s\n' "$scheme://$host/${path%/}"
}

base_name() { # the last part of a URL or path, without .git
    local name=${1%/}
    name=${name##*[/:]}
    printf '%s\n' "${name%.git}"
}

# ---------------------------------------------------------------------------------------------- settings

# Prints `section.key=value` lines, or `!LINE: text` for a line of [deploy] that is none. Secrets stay where they are.
INI_READER='
{ sub(/\r$/, ""); if (NR == 1) sub(/^\357\273\277/, "") }
/^[ \t]*([#;]|$)/ { next }
/^[ \t]*\[/ { section = $0; sub(/^[ \t]*\[[ \t]*/, "", section); sub(/[ \t]*(\].*)?$/, "", section); next }
{
    at = match($0, /[=:]/)
    if (!at) { if (section == "deploy") print "!" FNR ": not a `key = value` line"; next }
    key = tolower(substr($0, 1, at - 1)); gsub(/[ \t]/, "", key)
    value = substr($0, at + 1); sub(/^[ \t]+/, "", value)
    # A quoted value ends at the quote before the end of the line, or before a comment: it may contain quotes itself.
    rest = substr(value, 2)
    if (value ~ /^"/ && match(rest, /"[ \t]*$|"[ \t]+[#;]/)) value = substr(rest, 1, RSTART - 1)
    else if (value ~ /^\047/ && match(rest, /\047[ \t]*$|\047[ \t]+[#;]/)) value = substr(rest, 1, RSTART - 1)
    else { sub(/(^|[ \t]+)[#;].*/, "", value); sub(/[ \t]+$/, "", value) }
    if (SECRET) { if (section "." key == SECRET) found = value }
    else if (key !~ /secret|token/) print section "." key "=" value
}
END { if (SECRET) print found }
'

DEPLOY_KEYS='function function_name repo git_repo branch git_branch alias invoke log log_file components version time yes prompt_before_deploy plan'

read_config() {
    CONFIG=''
    CONFIG_FILE=${FLAG_c:-${LAMBDASMITH_CONFIG:-}}
    if [ -z "$CONFIG_FILE" ]; then
        CONFIG_FILE=$PROJECT/config.ini
        [ -e "$CONFIG_FILE" ] || return 0
    fi
    if ! [ -f "$CONFIG_FILE" ] || ! [ -r "$CONFIG_FILE" ]; then
        problem "$CONFIG_FILE: no such file, or not readable"
        return
    fi
    CONFIG=$(LC_ALL=C awk -v SECRET= "$INI_READER" <"$CONFIG_FILE") || die 2 "$CONFIG_FILE: cannot be read"
    local line key
    while IFS= read -r line; do
        case $line in
            '!'*) problem "$CONFIG_FILE:${line#!}" 'write it as key = value' ;;
            deploy.*)
                key=${line#deploy.}
                key=${key%%=*}
                case " $DEPLOY_KEYS " in
                    *" $key "*) ;;
                    *) problem "$CONFIG_FILE: [deploy] $key: unknown key" "known are: $DEPLOY_KEYS" ;;
                esac
                ;;
        esac
    done <<<"$CONFIG"
}

# Sets VALUE to the first of: FLAG's value, the variable, the keys of the file; and ORIGIN to where it came from.
pick() { # FLAG_VALUE VARIABLE SECTION.KEY...
    local variable=$2 key line
    ORIGIN=flag VALUE=$1
    [ -z "$VALUE" ] || return 0
    ORIGIN=$variable VALUE=${!variable:-}
    [ -z "$VALUE" ] || return 0
    shift 2
    ORIGIN=$CONFIG_FILE
    for key in "$@"; do
        while IFS= read -r line; do
            case $line in "$key="*) VALUE=${line#*=} ;; esac
        done <<<"$CONFIG"
        [ -z "$VALUE" ] || return 0
    done
    ORIGIN=''
}

setting() { # NAME of the variable that gets the value, then as pick
    pick "${@:2}"
    eval "$1=\$VALUE"   # not by printf -v, which in bash 3.2 may leave it as it was where the value is empty
}

switch() { # as setting; leaves it true or empty
    pick "${@:2}"
    case $VALUE in
        true | True | TRUE | yes | Yes | YES | on | On | ON | 1) VALUE=true ;;
        '' | false | False | FALSE | no | No | NO | off | Off | OFF | 0) VALUE='' ;;
        *)
            problem "$ORIGIN: ${4#*.}: '$VALUE' is neither true nor false" 'write yes or no'
            VALUE=''
            ;;
    esac
    eval "$1=\$VALUE"
}

# A path in the file means the same wherever the script is called from: makes VALUE, just picked, such a path.
resolve_path() {
    case $VALUE in '' | /*) ;; *) [ "$ORIGIN" != "$CONFIG_FILE" ] || VALUE=$(dirname "$CONFIG_FILE")/$VALUE ;; esac
}

parse_flags() {
    FLAG_a='' FLAG_b='' FLAG_c='' FLAG_f='' FLAG_g='' FLAG_i='' FLAG_l='' FLAG_p='' FLAG_r='' FLAG_w='' FLAG_B=''
    FLAG_t='' FLAG_v='' FLAG_y='' FLAG_n='' UPGRADE='' FORCE='' ACTION=build SENDING='' OUT='' UNPACK='' WORDS=()
    local option given=' ' directory='' OPTIND OPTARG
    while [ $# -gt 0 ]; do
        OPTIND=1
        while getopts ':a:b:c:f:g:i:l:p:r:w:B:stvynh-:' option; do
            [ "$option" != - ] || option=-$OPTARG
            given="$given-$option "
            case $option in
                [abcfgilprwB]) eval "FLAG_$option=\$OPTARG" ;;
                [tvyn]) eval "FLAG_$option=true" ;;
                -upgrade) UPGRADE=true ;;
                -force) FORCE=true ;;
                s | -send)
                    SENDING=true given="$given-s "
                    if is_place "${!OPTIND:-}"; then
                        directory=${!OPTIND}
                        OPTIND=$((OPTIND + 1))
                    fi
                    ;;
                h | -help) show_help; exit 0 ;;
                -package | -unpack | -rollback | -history | -status | -verify)
                    case $ACTION in
                        build | "$OPTARG") ACTION=$OPTARG ;;
                        *) problem "--$OPTARG together with --$ACTION: one of them at a time" ;;
                    esac
                    case $OPTARG${!OPTIND:-} in
                        package | unpack | package-* | unpack-*) problem "--$OPTARG needs the directory that is written to" ;;
                        package* | unpack*) OUT=${!OPTIND} OPTIND=$((OPTIND + 1)) ;;
                    esac
                    ;;
                :) problem "option -$OPTARG needs a value" ;;
                -*) problem "unknown option --$OPTARG" ;;
                *) problem "unknown option -$OPTARG" ;;
            esac
        done
        shift $((OPTIND - 1))
        # getopts stops at the first word; options may follow it.
        if [ $# -gt 0 ]; then
            WORDS+=("$1")
            shift
        fi
    done
    [ "$ACTION" = build ] || refuse_idle_flags "$given"
    # To the builder it is the same.
    if [ "$ACTION" = unpack ]; then ACTION=package UNPACK=true; fi
    [ -z "$SENDING" ] || choose_project "$directory"
}

# Sets PROJECT to what -s names, if anything can be built there.
choose_project() { # DIRECTORY, or nothing for that of this file
    local directory=$PROJECT
    if [ -n "$1" ] && ! directory=$(cd "$1" 2>/dev/null && pwd -P); then
        problem "-s $1: no such directory" '-s alone sends the directory of this file'
    elif ! has_build_file "$directory"; then
        problem "-s: $directory has no build.yaml, build.yml or build.json" '-s DIR names another directory'
    else
        PROJECT=$directory
    fi
}

# Whether a word after -s is its directory: the name of a component has neither slash nor dot.
is_place() {
    case $1 in
        -*) return 1 ;;
        */* | *.*) return 0 ;;
    esac
    [ -n "$1" ] && has_build_file "$1"
}

# A flag that would be ignored was meant to do something.
refuse_idle_flags() { # FLAGS that were given
    local flag idle='-b -g -i -n -s -v -w --upgrade --force'
    case $ACTION in
        history | status) idle="-a $idle" ;;
        rollback) idle=${idle/ -n/} ;;
        package | unpack) idle='-a -i -n -v -w' ;;
    esac
    for flag in $idle; do
        case $1 in *" $flag "*) problem "$flag means nothing to --$ACTION" 'leave it out' ;; esac
    done
}

settle() {
    setting FUNCTION "$FLAG_f" LAMBDASMITH_DEPLOY_FUNCTION deploy.function deploy.function_name aws.function_name .function_name
    setting ALIAS "$FLAG_a" LAMBDASMITH_DEPLOY_ALIAS deploy.alias
    setting BUILDER "$FLAG_B" LAMBDASMITH_BUILDER_FUNCTION_NAME builder.function_name
    FUNCTION=${FUNCTION:-${PROJECT##*/}} BUILDER=${BUILDER:-lambdasmith}
    switch VERSION "$FLAG_v" LAMBDASMITH_DEPLOY_VERSION deploy.version
    switch TIMES "$FLAG_t" LAMBDASMITH_DEPLOY_TIME deploy.time
    switch YES "$FLAG_y" LAMBDASMITH_DEPLOY_YES deploy.yes
    if [ -z "$ORIGIN" ]; then   # nothing says yes or no
        switch VALUE '' LAMBDASMITH_DEPLOY_PROMPT_BEFORE_DEPLOY deploy.prompt_before_deploy aws.prompt_before_deploy .prompt_before_deploy
        [ -n "$VALUE" ] || [ -z "$ORIGIN" ] || YES=true
    fi
    switch VALUE "$FLAG_n" LAMBDASMITH_DEPLOY_PLAN deploy.plan
    case $ACTION$VALUE in
        buildtrue) ACTION=plan ;;
        rollbacktrue) ACTION=preview ;;   # of a rollback
    esac
    BUILD='' COUNT='' COMPONENTS=() WEIGHT='' PAYLOAD=''
    case $ACTION in
        build | plan)
            settle_components
            settle_weight
            settle_payload
            ;;
        package)
            ALIAS='' VERSION=''   # config.ini's are for deploys
            # All are built all the same: only together they can be tried.
            if [ -z "$UNPACK" ]; then settle_components; else UNPACK=${WORDS[0]:-function}; fi
            settle_out
            ;;
        *) settle_word "${ACTION/preview/rollback}" ;;
    esac
    case $ACTION$SENDING in
        buildtrue | plantrue | packagetrue) settle_sending ;;
        build | plan | package) settle_source ;;
    esac
    settle_aws
    BUILD_ID=${LAMBDASMITH_BUILD_ID:-$(date '+%Y%m%d-%H%M%S')-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')}
    [ "$ACTION" != status ] || BUILD_ID=$BUILD
    # The actions whose end `status` knows, too.
    case $ACTION in build | package | rollback | status) TRACKED=$BUILD_ID ;; *) TRACKED='' ;; esac
    READ_TIMEOUT=${LAMBDASMITH_READ_TIMEOUT:-0} FOLLOW_LIMIT=${LAMBDASMITH_FOLLOW_LIMIT:-960}
    whole_number LAMBDASMITH_READ_TIMEOUT "$READ_TIMEOUT"
    whole_number LAMBDASMITH_FOLLOW_LIMIT "$FOLLOW_LIMIT"
    case $ACTION$YES in build) ASKS=Deploy ;; rollback) ASKS='Roll back' ;; *) ASKS='' ;; esac
    [ -z "$ASKS" ] || [ -t 0 ] || problem 'there is no terminal to ask on' '-y goes ahead without asking; -n only shows what would be done'
}

whole_number() {
    case $2 in '' | *[!0-9]*) problem "$1: '$2' is not a whole number of seconds" 'a number, or nothing' ;; esac
}

# Sets BUILD or COUNT to the one word that an action may be about.
settle_word() { # ACTION as it was typed
    local word=${WORDS[0]:-}
    [ ${#WORDS[@]} -le 1 ] || problem "--$1: ${WORDS[*]}: one of them at a time"
    if [ "$ACTION" = history ]; then
        COUNT=$word
        case $word in
            '' | [1-9] | [1-9][0-9] | 100) ;;
            *) problem "--history: '$word' is not a number from 1 to 100" 'another function is named with -f' ;;
        esac
    else
        BUILD=$word
        case $word in
            *[!A-Za-z0-9._-]*) problem "--$1: '$word' is not the id of a build" 'deploy.sh --history shows them' ;;
        esac
    fi
}

settle_weight() {
    WEIGHT=$FLAG_w
    [ -n "$WEIGHT" ] || return 0
    case $WEIGHT in .*) WEIGHT=0$WEIGHT ;; esac   # JSON wants the zero
    case $WEIGHT in
        0.*[!0-9]*) WEIGHT='' ;;
        0.*[1-9]*) ;;
        *) WEIGHT='' ;;
    esac
    [ -n "$WEIGHT" ] || problem "-w $FLAG_w: is not a number between 0 and 1" 'a tenth of the traffic is -w 0.1'
    [ -n "$ALIAS" ] || problem "-w $FLAG_w: there is no alias whose traffic could be split" 'name one: -a ALIAS'
}

settle_payload() {
    pick "$FLAG_i" LAMBDASMITH_DEPLOY_INVOKE deploy.invoke
    resolve_path
    PAYLOAD=$VALUE
    [ -n "$PAYLOAD" ] || return 0
    if ! [ -f "$PAYLOAD" ] || ! [ -r "$PAYLOAD" ]; then
        problem "payload $PAYLOAD: no such file, or not readable" '-i names a file with the event as JSON'
    elif ! is_json "$PAYLOAD"; then
        problem "payload $PAYLOAD: is not JSON" "python3 -m json.tool <'$PAYLOAD' says where"
    elif command -v iconv >/dev/null && ! iconv -f UTF-8 -t UTF-8 <"$PAYLOAD" >/dev/null 2>&1; then
        problem "payload $PAYLOAD: is not in UTF-8" "iconv -f LATIN1 -t UTF-8 '$PAYLOAD' turns Latin-1 into it"
    elif [ "$(tr -d ' \t\r\n' <"$PAYLOAD")" = null ]; then
        problem "payload $PAYLOAD: to the builder, null is no event at all" 'an event without content is {}'
    fi
}

# Makes OUT an absolute path, and refuses what cannot be written or would mix with what is there.
settle_out() {
    local typed=$OUT
    if [ -n "$UNPACK" ]; then
        [ ${#WORDS[@]} -le 1 ] || problem "--unpack: ${WORDS[*]}: one of them at a time" '--package DIR brings several, as zips'
        [ -n "$(unzipper)" ] || problem '--unpack: neither unzip, bsdtar nor python3 is installed' 'install unzip'
    fi
    [ -n "$OUT" ] || return 0
    if ! (umask 022 && mkdir -p "$OUT") 2>/dev/null || ! OUT=$(cd "$OUT" && pwd -P) || ! [ -w "$OUT" ]; then
        problem "$typed: is not a directory that can be written to" 'name another'
    elif [ -n "$UNPACK" ] && [ -n "$(ls -A "$OUT")" ]; then
        problem "--unpack $typed: is not empty" 'what no longer belongs to the component would stay; empty it, or name a new one'
    fi
}

settle_components() {
    COMPONENTS=(${WORDS[@]+"${WORDS[@]}"})
    [ ${#COMPONENTS[@]} -eq 0 ] || return 0
    pick '' LAMBDASMITH_DEPLOY_COMPONENTS deploy.components
    IFS=' ' read -r -a COMPONENTS <<<"${VALUE//,/ }"
}

# Sets REPO_KEY and REPO (what the event says), REF, SUBDIRECTORY and for the description REF_WHY.
settle_source() {
    REF='' REF_WHY='the default branch' SUBDIRECTORY='' HERE=''
    setting REPO "$FLAG_g" LAMBDASMITH_DEPLOY_REPO deploy.repo deploy.git_repo aws.git_repo .git_repo
    case $REPO in
        '')
            REPO=${GIT_ORIGIN:-$(base_name "${GIT_TOP:-$PROJECT}")}
            HERE=true
            ;;
        http://* | https://*)
            VALUE=${REPO#*://}
            case ${VALUE%%/*} in
                *@*) problem 'the URL of the repository contains credentials' \
                    'leave them out: the builder has its own, from python setup.py init' ;;
            esac
            ;;
        /* | ./* | ../* | '~'* | file:*) problem "repository $REPO: the builder cannot read this machine's disk" \
            "give the URL, owner/name or name under which it can be fetched" ;;
        *:*)
            VALUE=$(https_url "$REPO")
            REPO=${VALUE:-$REPO}
            ;;
    esac
    case $REPO in */* | *:*) REPO_KEY=repo ;; *) REPO_KEY=repo_name ;; esac
    # What is checked out here says nothing about another repository.
    case $(base_name "$REPO") in
        "$(base_name "${GIT_ORIGIN:-${GIT_TOP:-$PROJECT}}")" | "$(base_name "${GIT_TOP:-$PROJECT}")") HERE=true ;;
    esac
    pick "$FLAG_b" LAMBDASMITH_DEPLOY_BRANCH deploy.branch deploy.git_branch aws.git_branch .git_branch
    if [ -n "$VALUE" ]; then
        REF=$VALUE REF_WHY=$VALUE
    elif [ -n "$HERE" ] && [ -n "$GIT_REF" ]; then
        REF=$GIT_REF REF_WHY="$GIT_REF (checked out here)"
    fi
    [ -z "$HERE" ] || SUBDIRECTORY=$GIT_SUBDIRECTORY
}

# As settle_source, for files that are sent.
settle_sending() {
    # A directory that the repository around it ignores has nothing to do with it.
    if [ -n "$GIT_SUBDIRECTORY" ] && [ -z "$(ask_git ls-files .)" ] && ask_git check-ignore -q .; then
        GIT_TOP='' GIT_SUBDIRECTORY=''
    fi
    REPO='' REF='' HERE='' SUBDIRECTORY=$GIT_SUBDIRECTORY
    [ -z "$FLAG_g" ] || problem '-g together with -s: either what git has or what is here' 'leave one of them out'
    [ -z "$FLAG_b" ] || problem '-b together with -s: either what git has or what is here' 'leave one of them out'
    [ -z "$GIT_TROUBLE" ] || problem "-s: git does not tell which files of $PROJECT count: $GIT_TROUBLE" 'fix that first'
    command -v base64 >/dev/null || problem '-s: base64 is not installed (or not on the PATH)' 'install it'
    command -v git >/dev/null || ! [ -e "$PROJECT/.lambdaignore" ] || problem '-s: only git can read .lambdaignore' 'install git'
}

# Sets AWS_OPTIONS, PROFILE and REGION. Credentials out of the file go to the AWS CLI in its environment.
settle_aws() {
    AWS_OPTIONS=()
    setting PROFILE "$FLAG_p" LAMBDASMITH_AWS_AWS_PROFILE ''
    if [ -z "$PROFILE" ] && [ -z "${AWS_PROFILE:-}${AWS_DEFAULT_PROFILE:-}${AWS_ACCESS_KEY_ID:-}" ]; then
        [ -n "${LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID:-}" ] || setting PROFILE '' LAMBDASMITH_AWS_AWS_PROFILE aws.aws_profile .aws_profile
        [ -n "$PROFILE" ] || use_key_pair
    fi
    [ -z "$PROFILE" ] || AWS_OPTIONS+=(--profile "$PROFILE")
    # AWS CLI 1 does not know AWS_REGION.
    setting REGION "$FLAG_r" LAMBDASMITH_AWS_AWS_REGION ''
    REGION=${REGION:-${AWS_REGION:-${AWS_DEFAULT_REGION:-}}}
    [ -n "$REGION" ] || setting REGION '' LAMBDASMITH_AWS_AWS_REGION aws.aws_region .aws_region
    [ -z "$REGION" ] || AWS_OPTIONS+=(--region "$REGION")
    PROFILE=${PROFILE:-${AWS_PROFILE:-${AWS_DEFAULT_PROFILE:-}}}
}

use_key_pair() {
    { local tracing=$- && set +x; } 2>/dev/null   # a trace must not show them
    pick '' LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID aws.aws_access_key_id
    local key=$VALUE secret=${LAMBDASMITH_AWS_AWS_SECRET_ACCESS_KEY:-}
    if [ -n "$key" ]; then
        if [ -z "$secret" ] && [ -f "$CONFIG_FILE" ]; then
            secret=$(LC_ALL=C awk -v SECRET=aws.aws_secret_access_key "$INI_READER" <"$CONFIG_FILE")
        fi
        [ -n "$secret" ] || problem 'aws_access_key_id is given without aws_secret_access_key' 'give both, or name a profile'
        export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret
    fi
    case $tracing in *x*) set -x ;; esac
}

open_log() {
    pick "$FLAG_l" LAMBDASMITH_DEPLOY_LOG deploy.log deploy.log_file aws.log_file .log_file
    resolve_path
    local file=${VALUE:-$PROJECT/deploy.log} why=''
    write_log_to "$file" && return
    if [ -n "$VALUE" ]; then
        problem "log file $file: $why" '-l names another'
    else
        say "note: $file $why, there is no log of this run"
    fi
}

# Opens the log as descriptor 9 and sets LOG. A project can come with a deploy.log that is a link to a file of whoever deploys
# it: no link is followed, symbolic or hard, and what was opened must be what is there. The log is for its owner alone.
write_log_to() { # FILE; its caller's `why` says what is wrong
    why='is a symbolic link'
    [ ! -L "$1" ] || return 1
    why='cannot be written'
    if [ -c "$1" ]; then   # /dev/null
        { exec 9>>"$1"; } 2>/dev/null || return 1
        LOG=$1
        return 0
    fi
    [ -f "$1" ] || [ ! -e "$1" ] || return 1   # a pipe would hold us up
    [ -f "$1" ] || (umask 077 && set -o noclobber && : >"$1") 2>/dev/null || return 1
    (: >>"$1") 2>/dev/null && { exec 9>>"$1"; } 2>/dev/null || return 1
    why='is a symbolic link'
    [ ! -L "$1" ] || { exec 9>&-; return 1; }
    local links owner
    # shellcheck disable=SC2012  # the only way that every system has
    read -r _ links owner _ <<<"$(ls -ldn -- "$1")"
    why='has other names (hard links), or belongs to someone else'
    [ "$links.$owner" = "1.$(id -u)" ] || { exec 9>&-; return 1; }
    why='cannot be kept for its owner alone'
    chmod 600 -- "$1" 2>/dev/null || { exec 9>&-; return 1; }
    LOG=$1
}

# ---------------------------------------------------------------------------------------------- JSON

# Prints an object of its arguments: KEY s:STRING (escaped here), KEY j:JSON or KEY f:FILE with JSON (taken as they are),
# or with `[` first an array.
json() {
    LC_ALL=C awk -- '
    function quoted(text,    out, i, c) {
        for (i = 1; i <= length(text); i++) { c = substr(text, i, 1); out = out (c in escape ? escape[c] : c) }
        return "\"" out "\""
    }
    function value(typed,    rest, out, part) {
        rest = substr(typed, 3)
        if (typed ~ /^s:/) return quoted(rest)
        if (typed ~ /^j:/) return rest
        while ((getline part < rest) > 0) out = out part "\n"
        return out
    }
    BEGIN {
        for (i = 1; i < 32; i++) escape[sprintf("%c", i)] = sprintf("\\u%04x", i)
        escape["\""] = "\\\""; escape["\\"] = "\\\\"
        array = ARGV[1] == "["
        for (i = 2; i < ARGC; i++) {
            out = out (out == "" ? "" : ",")
            if (!array) out = out value(ARGV[i++]) ":"
            out = out value(ARGV[i])
        }
        print (array ? "[" out "]" : "{" out "}")
        exit
    }' "$@"
}

# Reads one JSON text. Values land in V by their path ("/layers/0/name"), types in T ({ [ s and l for literals); the object
# at ROOT begins at byte FROM and ends at byte TO, and before the member `text` of the whole at BARE. `broken` is true at the
# end unless it was one whole JSON value. Splitting the input at its quotes keeps the time linear; running under LC_ALL=C
# makes every awk count bytes.
JSON_READER='
BEGIN { RS = "\""; want = "value" }
{
    if (!inside) { structure($0); inside = 1; text = "" }
    else {
        text = text $0
        if (match(text, /\\+$/) && RLENGTH % 2) text = text "\""
        else { string(text); inside = 0 }
    }
    offset += length($0) + 1
}
function structure(chunk,    c) {
    for (;;) {
        sub(/^[ \t\r\n]+/, "", chunk)
        if (chunk == "") return
        c = substr(chunk, 1, 1)
        here = offset + length($0) - length(chunk) + 1
        if (match(chunk, /^[-+.0-9A-Za-z]+/)) { begin("l"); V[path] = substr(chunk, 1, RLENGTH); after(here + RLENGTH - 1) }
        else {
            RLENGTH = 1
            if (c == "{" || c == "[") { begin(c); kind[++depth] = c; P[depth] = path; N[depth] = 0; want = c == "{" ? "key}" : "value]" }
            else if (c == "}" || c == "]") finish(c)
            else if (c == "," && want == "comma") want = kind[depth] == "{" ? "key" : "value"
            else if (c == ":" && want == "colon") want = "value"
            else broken = 1
        }
        if (broken) return
        chunk = substr(chunk, RLENGTH + 1)
    }
}
function begin(type) {
    if (want !~ /^value/) broken = 1
    path = depth == 0 ? "" : P[depth] "/" (kind[depth] == "[" ? N[depth] : key[depth])
    if (path == ROOT) FROM = here
    N[depth]++
    T[path] = type
}
function after(end) { if (depth == 1) last = end; want = depth ? "comma" : "end" }
function finish(c) {
    if (!depth || kind[depth] != (c == "}" ? "{" : "[") || want !~ /[]}]$|comma/) { broken = 1; return }
    if (P[depth] == ROOT) TO = here
    depth--
    after(here)
}
function string(raw) {
    if (want ~ /^key/) {
        key[depth] = unescaped(raw); gsub(/~/, "~0", key[depth]); gsub(/\//, "~1", key[depth]); want = "colon"
        if (depth == 1 && key[1] == "text") BARE = last
    }
    else { begin("s"); V[path] = unescaped(raw); after(offset + length($0) + 1) }
}
function unescaped(raw,    out, at, c, code, low) {
    out = ""
    while (at = index(raw, "\\")) {
        c = substr(raw, at + 1, 1)
        out = out substr(raw, 1, at - 1)
        if (c == "u") {
            code = hex(substr(raw, at + 2, 4))
            if (code >= 55296 && code < 56320 && substr(raw, at + 6, 2) == "\\u") {
                low = hex(substr(raw, at + 8, 4))
                if (low >= 56320 && low < 57344) { code = 65536 + (code - 55296) * 1024 + low - 56320; at += 6 }
            }
            out = out utf8(code)
            raw = substr(raw, at + 6)
        } else {
            out = out (c == "n" ? "\n" : c == "t" ? "\t" : c == "r" ? "\r" : c == "b" ? "\b" : c == "f" ? "\f" : c)
            raw = substr(raw, at + 2)
        }
    }
    return out raw
}
function hex(digits,    i, n) {
    for (i = 1; i <= 4; i++) n = n * 16 + index("123456789abcdef", tolower(substr(digits, i, 1)))
    return n
}
function utf8(code) {
    if (code == 0) return ""
    if (code < 128) return sprintf("%c", code)
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code >= 55296 && code < 57344) code = 65533
    if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}
END { if (broken || depth || want != "end") exit broken = 1 }
'

# Runs awk's END over the JSON in FILE, with ROOT and KIND; fails when that is not JSON.
read_json() { # FILE END [KIND]
    LC_ALL=C awk -v ROOT="$REPLY_ROOT" -v KIND="${3:-}" -- "$JSON_READER END { if (broken) exit 1; $2 }" "$1"
}

is_json() { # FILE
    read_json "$1" '
        for (path in T)
            if (T[path] == "l" && V[path] !~ /^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)$/) exit 1'
}

# Prints the values at the given paths, one a line. Ctrl-C must not make it fail, so it is ignored in here (by a subshell).
json_lines() ( # FILE PATH...
    trap '' INT
    read_json "$1" '
        count = split(KIND, wanted, " ")
        for (i = 1; i <= count; i++) { value = V[wanted[i]]; gsub(/[\t\r\n]+/, " ", value); print value }' "${*:2}" | printable
)

# Prints the reply in FILE as it came, but for its text.
bare_reply() { # FILE
    local from='' to='' end=''
    read -r from to end <<<"$(read_json "$1" 'print FROM, (ROOT == "" && BARE ? BARE " }" : TO)')"
    if [ -n "$to" ]; then tail -c "+$from" "$1" | head -c $((to - from + 1)); else cat "$1"; fi
    printf '%s\n' "$end"
}

# Prints what the reply in FILE says: plain, colour, or times. The builder renders it; one that is older than this file does
# not, and says that it knows of no `text`.
text_of() { # FILE KIND
    read_json "$1" '
        path = "/text/" KIND; error = ROOT "/error/"
        if (path in V || KIND == "times") printf "%s", V[path]
        else if (!((error "message") in V)) print "the builder does not tell its reply, which is in the log: python setup.py update"
        else {
            print V[error "message"]
            if (V[error "message"] ~ /text: unknown field/) V[error "hint"] = "the builder is older than this file: python setup.py update"
            if (V[error "hint"] != "") print "hint: " V[error "hint"]
            print "(" V[error "code"] ")"
        }' "$2" | printable "$2"
}

# Tells what the reply in FILE says on stdout or stderr, there in colour if that is a terminal, and in the log.
tell() { # FILE DESCRIPTOR [PREFIX]
    local kind=plain
    if live "$2" && [ -z "${NO_COLOR:-}" ]; then kind=colour; fi
    clear_line
    printf '%s%s\n' "${3:-}" "$(text_of "$1" "$kind")" >&"$2"
    record "${3:-}$(text_of "$1" plain)"
}

# ---------------------------------------------------------------------------------------------- asking

need_tools() {
    local tool
    command -v aws >/dev/null || die 3 "the AWS CLI is not installed (or not on the PATH)" \
        "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
    for tool in awk sed tr od date mktemp; do
        command -v "$tool" >/dev/null || die 3 "$tool is not installed (or not on the PATH)"
    done
}

run_aws() { AWS_PAGER='' aws "$@" ${AWS_OPTIONS[@]+"${AWS_OPTIONS[@]}"}; }

# Two look-ups of half a second each: only worth it when somebody is about to decide on them.
identify() {
    ACCOUNT='' SHOWN_REGION=$REGION
    local account_call region_call=''
    run_aws sts get-caller-identity --query Account --output text >"$TMP/account" 2>"$TMP/account.err" &
    account_call=$!
    if [ -z "$REGION" ]; then
        run_aws configure get region >"$TMP/region" 2>/dev/null &
        region_call=$!
    fi
    wait "$account_call" || aws_failed "$TMP/account.err"
    ACCOUNT=$(tr -d '\r\n' <"$TMP/account")
    [ -z "$region_call" ] || wait "$region_call" || aws_failed <(printf 'You must specify a region.\n')
    [ -z "$region_call" ] || SHOWN_REGION=$(tr -d '\r\n' <"$TMP/region")
}

describe() {
    local publish="${VERSION:+a new version}" what="${COMPONENTS[*]-}"
    fact function "$FUNCTION"
    case $ACTION in
        rollback | preview)
            fact alias "$ALIAS"
            fact 'back to' "${BUILD:-the build before the present one}"
            ;;
        verify)
            fact alias "$ALIAS"
            fact verify "${BUILD:-what is deployed}"
            ;;
        *)
            [ -z "$ALIAS" ] || publish="${publish:+$publish, }alias $ALIAS${WEIGHT:+ for $WEIGHT of its traffic}"
            if [ -n "$SENDING" ]; then
                fact sends "${GIT_TOP:-$PROJECT}, $(megabytes "$SENT_BYTES")${SENT_TREE:+, tree ${SENT_TREE:0:12}}"
            else
                fact repository "$REPO"
                fact ref "$REF_WHY"
            fi
            fact directory "$SUBDIRECTORY"
            if [ -n "$UNPACK" ]; then fact component "$UNPACK"; else fact components "${what:-all}"; fi
            fact again "${FORCE:+every component}${UPGRADE:+${FORCE:+, }the locks}"
            fact publish "$publish"
            [ "$ACTION" = plan ] || fact 'invoke with' "$PAYLOAD"
            fact into "$OUT"
            ;;
    esac
    fact builder "$BUILDER${SHOWN_REGION:+ in $SHOWN_REGION}${ACCOUNT:+, account $ACCOUNT}${PROFILE:+, profile $PROFILE}"
    case $ACTION in
        build | plan | package)
            [ -z "$SENDING" ] || describe_unsent
            describe_only_here
            [ -z "$SENDING" ] || [ "$SENT_BYTES" -le 50000000 ] ||
                say '  note: that is much to send; name what the build does not need in .lambdaignore, as in .gitignore'
            ;;
    esac
}

fact() { [ -z "$2" ] || say "$(printf '  %-11s %s' "$1" "$2")"; } # NAME VALUE
megabytes() { printf '%s.%s MB\n' $(($1 / 1000000)) $(($1 % 1000000 / 100000)); }

# The builder builds what git's server has. Notes what is only on this disk, as far as git here can tell without asking the
# server: ONLY_HERE is empty where nothing is, else `directory` or `git`.
find_only_here() {
    ONLY_HERE='' HEAD_ID='' SERVER='' NEVER_PUSHED='' AHEAD=0 BEHIND=0 EDITED=0 EDITED_NAMES=''
    [ -z "$SENDING" ] && [ -n "$HERE" ] || return 0
    if [ -z "$GIT_TOP" ]; then
        [ -n "$GIT_TROUBLE" ] || ONLY_HERE=directory
        return 0
    fi
    [ "$REF" = "$GIT_REF" ] || return 0   # another branch was asked for: nobody expects what is here
    find_edited
    find_unpushed
    [ -z "$NEVER_PUSHED" ] && [ "$AHEAD" = 0 ] && [ "$EDITED" = 0 ] || ONLY_HERE=git
}

# Sets EDITED to how many files are not committed, and EDITED_NAMES to the first of them.
find_edited() {
    local file line only=(.)
    # This script, its log and its settings are nobody's code.
    for file in "$SCRIPT" "$LOG" "$CONFIG_FILE" "$(product)"; do
        file=$(below "$GIT_TOP" "$file") && only+=(":(top,exclude,literal)$file")
    done
    # Nor is anybody to commit keys and environments, which -s does not send either.
    {
        ignored_everywhere "$GIT_TOP"
        ignored "$NEVER_SECRETS $NEVER_CLUTTER $NEVER_UNLESS_NODEJS"
    } >"$TMP/never"
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        EDITED=$((EDITED + 1))
        [ $EDITED -gt 3 ] || EDITED_NAMES=${EDITED_NAMES:+$EDITED_NAMES, }${line:3}
    done <<<"$(plain_git -C "$PROJECT" -c core.quotePath=false -c core.excludesFile="$TMP/never" status --porcelain --untracked-files=normal -- "${only[@]}" 2>/dev/null)"
    [ $EDITED -le 3 ] || EDITED_NAMES="$EDITED_NAMES and $((EDITED - 3)) more"
}

# Sets SERVER to git's copy of the server's branch and AHEAD and BEHIND to how many commits are only here or only there;
# where there is no such copy, NEVER_PUSHED to what the server may lack.
find_unpushed() {
    local upstream ref
    if ! HEAD_ID=$(ask_git rev-parse --verify 'HEAD^{commit}'); then
        HEAD_ID='' NEVER_PUSHED="the branch $GIT_REF, which has no commit yet"
        return
    fi
    if [ "$GIT_REF" = "$HEAD_ID" ]; then   # no branch is checked out
        NEVER_PUSHED="commit ${HEAD_ID:0:12}"
        while IFS= read -r ref; do
            case $ref in '' | refs/heads/* | refs/stash) ;; *) NEVER_PUSHED='' ;; esac
        done <<<"$(ask_git for-each-ref --contains "$HEAD_ID" --format='%(refname)')"
        return
    fi
    SERVER=origin/$GIT_REF
    if ! ask_git rev-parse --verify "refs/remotes/$SERVER^{commit}" >/dev/null; then
        SERVER=''
        # The remote may have another name.
        upstream=$(ask_git rev-parse --verify --symbolic-full-name '@{upstream}') || upstream=''
        upstream=${upstream#refs/remotes/}
        [ "${upstream#*/}" != "$GIT_REF" ] || SERVER=$upstream
    fi
    if [ -z "$SERVER" ]; then
        NEVER_PUSHED="the branch $GIT_REF"
    elif upstream=$(ask_git rev-list --left-right --count "refs/remotes/$SERVER...HEAD"); then
        read -r BEHIND AHEAD <<<"$upstream"
    fi
}

counted() { # NUMBER SINGULAR PLURAL
    if [ "$1" = 1 ]; then printf '1 %s' "$2"; else printf '%s %s' "$1" "$3"; fi
}

# Before it is built: what the builder takes, what it does not, and what to do about it.
describe_only_here() {
    find_only_here
    case $ONLY_HERE in
        '')
            [ "$BEHIND" = 0 ] || say "  note: $(counted "$BEHIND" commit commits) of $SERVER that you do not have here will be part of it (git pull)"
            return
            ;;
        directory)
            say "  WARNING: what is built is $REPO as git's server has it, NOT the files in $PROJECT," \
                'which is not in a git repository'
            say '           to send the files that are here: -s'
            return
            ;;
    esac
    if [ -n "$NEVER_PUSHED" ]; then
        say "  WARNING: git's server does not have $NEVER_PUSHED, as far as git here knows: it was never pushed"
    else
        say "  WARNING: what is built is $SERVER as git's server has it, NOT what is here"
    fi
    [ "$AHEAD" = 0 ] || say "           not pushed: $(counted "$AHEAD" commit commits), the last: $(ask_git log -1 --format=%s)"
    [ "$EDITED" = 0 ] || say "           not committed: $(counted "$EDITED" file files): $EDITED_NAMES"
    [ "$BEHIND" = 0 ] || say "           built, but not here: $(counted "$BEHIND" commit commits) (git pull)"
    say "           $(way_out)"
}

way_out() {
    local first='git push'
    [ -z "$NEVER_PUSHED" ] || first="git push -u origin $GIT_REF"
    [ "$GIT_REF" != "$HEAD_ID" ] || first='git push origin HEAD:BRANCH'
    [ "$EDITED" = 0 ] || first="git commit, then $first"
    printf '%s' "$first; or send the files that are here, as they are: -s"
}

# After it: the same in short, by the commit that was really built, which tells better than what git knew before.
tell_only_here() { # COMMIT, or nothing where none was built
    local commit=$1 parts='' what ahead
    case $ACTION in build) what='NOT deployed' ;; plan) what='NOT planned' ;; package) what='NOT packaged' ;; esac
    case ${ONLY_HERE:-} in
        '') return 0 ;;
        directory)
            say "WARNING: $what: the files in $PROJECT; to send them: -s"
            return
            ;;
    esac
    if [ -n "$commit" ] && [ -n "$HEAD_ID" ] && ahead=$(ask_git rev-list --count "$commit..HEAD"); then
        NEVER_PUSHED='' AHEAD=$ahead
    fi
    [ -z "$NEVER_PUSHED" ] || parts="$NEVER_PUSHED, which was never pushed"
    [ "$AHEAD" = 0 ] || parts="${parts:+$parts; }$(counted "$AHEAD" 'commit that is' 'commits that are') not pushed"
    [ "$EDITED" = 0 ] || parts="${parts:+$parts; }$(counted "$EDITED" 'file that is' 'files that are') not committed"
    [ -n "$parts" ] || return 0
    say "WARNING: $what: $parts"
    say "         $(way_out)"
}

describe_unsent() {
    local told
    told=$(awk '{ count++; if (count <= 5) told = told (told == "" ? "" : ", ") $0 } END {
        if (count) print told (count > 5 ? " and " count - 5 " more" : "") }' "$TMP/unsent")
    [ -z "$told" ] || say "  note: not sent, as such files usually hold secrets: $told; what belongs to the function, commit or name in files"
}

# Shows what a rollback would do, and settles on the build that it has shown, whatever is deployed meanwhile.
preview() {
    ACTION=preview TRACKED='' write_events
    ask "$TMP/event"
    REPLY_FILE=$TMP/call.reply
    case $ACTION$(json_lines "$REPLY_FILE" /statusCode) in
        rollback2??) ;;
        *)
            finish
            exit 0
            ;;
    esac
    tell "$REPLY_FILE" 2
    {
        read -r BUILD && read -r ALIAS
    } <<<"$(json_lines "$REPLY_FILE" /rollback/then/build_id /rollback/alias)"
    [ "$ALIAS" != null ] || ALIAS=''
    [ -n "$BUILD" ] || die 4 "$BUILDER does not say what it would return to" 'is it older than this file? python setup.py update'
}

confirm() {
    local answer=''
    printf '%s? [y/N] ' "$ASKS" >&2
    read -r answer || printf '\n' >&2
    case $answer in
        [yY] | [yY][eE][sS]) record 'confirmed' ;;
        *) die 5 'not confirmed, nothing was done' ;;
    esac
}

# ---------------------------------------------------------------------------------------------- sending

# What is not sent unless git has it or the build file names it: builder/sources/default_excludes.json, which a test compares.
NEVER_SECRETS='.env .env.* .envrc *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk id_rsa id_dsa id_ecdsa
id_ed25519 .aws .ssh .gnupg .docker .kube .netrc _netrc .pypirc .git-credentials .vault-token
*.tfstate *.tfstate.* *.tfvars *.tfvars.json
.env~ *.pem.bak *.pem.old *.pem~ *.key.bak *.key.old *.key~
id_rsa.bak id_rsa.old id_rsa~ id_ed25519.bak id_ed25519.old id_ed25519~'
NEVER_CLUTTER='.git .hg .svn .venv venv __pycache__ *.pyc .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox
.nox .terraform .terraform.lock.hcl .aws-sam .serverless cdk.out .DS_Store Thumbs.db .idea .vscode
deploy.sh deploy.log'
NEVER_UNLESS_NODEJS='node_modules .npmrc'

# Prints `RULE<tab>PATH` for every path in the build file that one of RULES would leave out. The builder reads it by the same
# words: neither needs a reader of YAML for that. Paths begin where DIRECTORY, the project's, does.
NAMED_FILES='
function plain(path,    parts, count, i, result) {
    count = split(path, parts, "/"); result = ""
    for (i = 1; i <= count; i++) if (parts[i] != "" && parts[i] != ".") result = result (result == "" ? "" : "/") parts[i]
    return result
}
function value(text,    words, count, i) {
    if (KEY !~ /^(files|inputs|preinstall|command|dependencies|source_dir)$/) return
    count = split(text, words, /[ \t]+/)
    words[++count] = text
    for (i = 1; i <= count; i++) {
        VALUES[plain(words[i])]
        if (KEY == "source_dir") FOLDERS[plain(ENVIRON["DIRECTORY"] "/" words[i])]
    }
}
BEGIN {
    COUNT = split(ENVIRON["RULES"], RULE, /[ \n]+/)
    for (i = 1; i <= COUNT; i++) {
        pattern = RULE[i]; gsub(/[.]/, "[.]", pattern); gsub(/[*]/, ".*", pattern); EXPRESSION[i] = "^" pattern "$"
    }
    FOLDERS[plain(ENVIRON["DIRECTORY"])]
}
{
    rest = $0; sub(/\r$/, "", rest); sub(/(^|[ \t])#.*/, "", rest)
    while (rest != "") {
        if (match(rest, /^"[A-Za-z0-9_-]+"[ \t]*:/) || match(rest, /^\047[A-Za-z0-9_-]+\047[ \t]*:/) || \
            (match(rest, /^[A-Za-z0-9_-]+[ \t]*:/) && substr(rest, RLENGTH + 1) ~ /^([ \t]|$)/)) {
            KEY = substr(rest, 1, RLENGTH); gsub(/["\047 \t:]/, "", KEY)
        }
        else if (match(rest, /^"[^"]*"/) || match(rest, /^\047[^\047]*\047/)) value(substr(rest, 2, RLENGTH - 2))
        else if (match(rest, /^[^] \t,[{}"\047]+/)) value(substr(rest, 1, RLENGTH))
        else RLENGTH = 1
        rest = substr(rest, RLENGTH + 1)
    }
}
END {
    for (entry in VALUES) {
        count = split(entry, parts, "/"); path = ""
        for (i = 1; i <= count; i++) {
            path = path (path == "" ? "" : "/") parts[i]
            for (j = 1; j <= COUNT; j++) if (parts[i] ~ EXPRESSION[j]) {
                for (folder in FOLDERS) print RULE[j] "\t" literal(folder) (folder == "" ? "" : "/") path
            }
        }
    }
}
function literal(text,    result, i, one) {   # gsub with backslashes is another thing in every awk
    result = ""
    for (i = 1; i <= length(text); i++) {
        one = substr(text, i, 1)
        result = result (index("*?[\\", one) ? "\\" : "") one
    }
    return result
}
'

# Sets RULES, the names that are left out by default, and NAMED, which paths of them the build file wants.

# Sets RULES, the names that are left out by default, and NAMED, which paths of them the build file wants.
settle_excludes() {
    local file text=''
    for file in build.yaml build.yml build.json; do
        ! [ -f "$PROJECT/$file" ] || text=$text$(cat "$PROJECT/$file")$NL
    done
    RULES="$NEVER_SECRETS $NEVER_CLUTTER"
    case $(printf '%s' "$text" | LC_ALL=C sed -e 's/^#.*//' -e 's/[[:space:]]#.*//') in *nodejs*) ;; *) RULES="$RULES $NEVER_UNLESS_NODEJS" ;; esac
    NAMED=$(printf '%s' "$text" | RULES=$RULES DIRECTORY=$SUBDIRECTORY LC_ALL=C awk -- "$NAMED_FILES") || return 1
}

# Prints RULES one a line, in the syntax of a .gitignore; behind them what the build file wants nevertheless.
ignored() { # RULES [NAMED]
    printf '%s\n' "$1" | tr ' ' '\n'
    [ -z "${2:-}" ] || printf '%s\n' "$2" | awk '{ sub(/^[^\t]*\t/, "!/"); print }'
}

# Prints what the user ignores in every repository, as git does by itself where it is not told of another file.
ignored_everywhere() { # REPOSITORY
    local file
    file=$(plain_git -C "$1" config --path core.excludesFile) || file=${XDG_CONFIG_HOME:-${HOME:-}/.config}/git/ignore
    ! [ -f "$file" ] || cat "$file"
    printf '\n'
}

# Prints those of RULES of which the build file names nothing.
unnamed() { # RULES
    local rule
    printf '%s\n' "$1" | tr ' ' '\n' | while IFS= read -r rule; do
        case "$NL$NAMED" in *"$NL$rule	"*) ;; *) printf '%s\n' "$rule" ;; esac
    done
}

# Makes $TMP/sent.tar.gz, and $TMP/unsent with what probably holds secrets; sets SENT_TREE (git's SHA-1 of the content, or nothing) and SENT_BYTES.
pack() {
    SENT_TREE=''
    settle_excludes || die 2 "the build file in $PROJECT cannot be read"
    : >"$TMP/unsent"
    if command -v git >/dev/null; then
        pack_by_git "${GIT_TOP:-$PROJECT}" 2>"$TMP/git.err" || die 2 "git cannot pack ${GIT_TOP:-$PROJECT}: $(last_lines "$TMP/git.err")"
    else
        pack_plainly 2>"$TMP/tar.err" || die 2 "tar cannot pack $PROJECT: $(last_lines "$TMP/tar.err")"
    fi
    SENT_BYTES=$(($(wc -c <"$TMP/sent.tar.gz")))
}

last_lines() { sed -e '/^$/d' -e '/^hint: /d' "$1" | tail -n 3 | printable; }

# Prints the directory that --package writes to: what it holds is made of what is sent. Nothing where the project is in it.
product() { case $PROJECT/ in "${OUT:-/}"/*) ;; *) printf '%s\n' "$OUT" ;; esac; }

pack_plainly() {
    local unwanted=() clutter=(-name .git) secrets=(-name .env.) file
    while IFS= read -r file; do
        unwanted+=(--exclude "$file")
        case " ${NEVER_SECRETS//$NL/ } " in *" $file "*) secrets+=(-o -name "$file") ;; *) clutter+=(-o -name "$file") ;; esac
    done <<<"$(unnamed "$RULES")"
    (cd "$PROJECT" && find . \( "${clutter[@]}" \) -prune -o \( "${secrets[@]}" \) -print) | sed 's|^[.]/||' >"$TMP/unsent"
    for file in "$LOG" "$CONFIG_FILE" "$(product)"; do
        file=$(below "$PROJECT" "$file") && unwanted+=(--exclude "./$file")
    done
    COPYFILE_DISABLE=1 tar -cz "${unwanted[@]}" -f "$TMP/sent.tar.gz" -C "$PROJECT" .   # macOS adds its own files without
}

# The archive has the whole repository, because requirements may lie beside the project; its content is as a commit of
# these files would have it, so equal content is equal to the builder, however it came.
pack_by_git() { # TOP
    local top=$1 index=$TMP/index file commit='' format
    SCRATCH=$TMP/git
    format=$(ask_git rev-parse --show-object-format) || format=''
    case $format in sha256) format=--object-format=sha256 ;; *) format='' ;; esac
    plain_git init -q --bare --template= ${format:+"$format"} "$SCRATCH" || return 1
    mkdir -p "$SCRATCH/info" "$SCRATCH/objects/info" || return 1
    ignored "$RULES" "$NAMED" >"$TMP/ignored" || return 1
    # The first of all attributes: what was taken in goes out, all of it and byte for byte.
    printf '* -export-ignore -export-subst -text -ident -filter -working-tree-encoding\n' >"$SCRATCH/info/attributes"
    take "$top" "$index" || return 1
    apart "$top" "$index" ls-files -z --cached --ignored --exclude-per-directory=.lambdaignore |
        apart "$top" "$index" update-index -z --force-remove --stdin || return 1
    # They may have keys in them, or change with every run.
    for file in "$LOG" "$CONFIG_FILE"; do
        file=$(below "$top" "$file") || continue
        is_tracked "$file" || apart "$top" "$index" update-index --force-remove -- "$file" || return 1
    done
    if file=$(below "$top" "$(product)") && ! is_tracked "$file"; then
        apart "$top" "$index" --literal-pathspecs ls-files -z -- "$file" | apart "$top" "$index" update-index -z --force-remove --stdin || return 1
    fi
    SENT_TREE=$(apart "$top" "$index" write-tree) || return 1
    # An archive of a commit tells the builder that git has its files; without a repository the builder looks itself.
    [ -z "$GIT_TOP" ] || commit=$(
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_AUTHOR_DATE='315532800 +0000'
        export GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x GIT_COMMITTER_DATE='315532800 +0000'
        apart "$top" "$index" commit-tree -m x "$SENT_TREE"
    ) || return 1
    plain_git --git-dir="$SCRATCH" archive --format=tar.gz --output="$TMP/sent.tar.gz" "${commit:-$SENT_TREE}" || return 1
    [ ${#SENT_TREE} -eq 40 ] || SENT_TREE=''   # SHA-256 ids are not what the builder compares with
}

# Fills INDEX with what is in the work tree TOP, submodules included, as git has it or would take it.
take() { # TOP INDEX
    local top=$1 index=$2 file tree options=(-A) ignored=$TMP/index.ignored
    if is_repository "$top"; then
        file=$(repository_file "$top" objects) || return 1
        printf '%s\n' "$file" >>"$SCRATCH/objects/info/alternates"
        file=$(repository_file "$top" index) || return 1
        # With its time, by which git knows what may have changed in the same second.
        ! [ -f "$file" ] || cp -p "$file" "$index" || return 1
        # Files in LFS go as they are, not as pointers to a server: git has to look at them again.
        apart "$top" "$index" ls-files -z -- ':(attr:filter=lfs)' | apart "$top" "$index" update-index -z --force-remove --stdin
        # Without it git refuses what lies beside a sparse checkout; older ones do not know it.
        [ "$(plain_git -C "$top" config --bool core.sparseCheckout)" != true ] || options+=(--sparse)
        # Besides what the user ignores everywhere; what a .gitignore wants nevertheless stays wanted.
        {
            ignored_everywhere "$top"
            # Paths in the build file are none of a submodule's.
            if [ "$top" = "$GIT_TOP" ]; then cat "$TMP/ignored"; else ignored "$RULES"; fi
        } >"$ignored"
        apart "$top" "$index" -c core.excludesFile="$ignored" add "${options[@]}" -- . || return 1
    else
        apart "$top" "$index" ls-files -z --others --exclude-from="$TMP/ignored" |
            tr '\000\n' '\n\001' | sed 's|/$||' | tr '\n\001' '\000\n' |
            apart "$top" "$index" update-index -z --add --stdin || return 1
    fi
    note_unsent "$top" "$index" || return 1
    apart "$top" "$index" ls-files -s | LC_ALL=C awk -F '\t' '/^160000 / { print $2 }' >"$index.submodules"
    while IFS= read -r file <&3; do
        apart "$top" "$index" update-index --force-remove -- "$file" || return 1
        if ! [ -e "$top/$file/.git" ]; then
            say "  note: the submodule $file is not checked out here, it is not sent" 2>&4
            continue
        fi
        take "$top/$file" "$index.s" || return 1
        tree=$(apart "$top/$file" "$index.s" write-tree) || return 1
        apart "$top" "$index" read-tree --prefix="$file/" "$tree" || return 1
        rm -f "$index.s"
    done 3<"$index.submodules"
}

# Of what is not in INDEX, and neither clutter nor ignored by anybody else: it was taken for a secret.
note_unsent() { # TOP INDEX
    local options=() below=${1#"${GIT_TOP:-$PROJECT}"}
    ! is_repository "$1" || options=(--exclude-standard)
    ignored "$NEVER_CLUTTER $NEVER_UNLESS_NODEJS" >"$TMP/clutter"
    options+=(--exclude-from="$TMP/clutter")
    {
        apart "$1" "$2" ls-files --others --ignored --exclude-per-directory=.lambdaignore && printf '/\n' &&
            apart "$1" "$2" ls-files --others "${options[@]}"
    } | BELOW=${below#/} awk '
        $0 == "/" { all = 1; next }
        !all { unwanted[$0]; next }
        !($0 in unwanted) { print (ENVIRON["BELOW"] == "" ? "" : ENVIRON["BELOW"] "/") $0 }' >>"$TMP/unsent"
}

is_repository() { [ -n "$GIT_TOP" ] || [ "$1" != "$PROJECT" ]; }

# git in the work tree TOP, but with an index and new objects apart from the repository's, which stays as it is.
apart() { # TOP INDEX ARGUMENT...
    local top=$1 index=$2 place=()
    shift 2
    is_repository "$top" || place=(--git-dir="$SCRATCH" --work-tree="$top")
    (
        unset GIT_DIR GIT_WORK_TREE GIT_PREFIX GIT_ALTERNATE_OBJECT_DIRECTORIES
        export GIT_INDEX_FILE=$index GIT_OBJECT_DIRECTORY=$SCRATCH/objects LC_ALL=C
        exec git -C "$top" ${place[@]+"${place[@]}"} -c core.quotePath=false -c core.safecrlf=false \
            -c core.splitIndex=false -c core.fsmonitor=false \
            -c filter.lfs.clean= -c filter.lfs.process= -c filter.lfs.required=false "$@"
    )
}

repository_file() { # TOP NAME
    local path
    path=$(plain_git -C "$1" rev-parse --git-path "$2") || return 1
    case $path in /* | [A-Za-z]:*) ;; *) path=$1/$path ;; esac
    printf '%s\n' "$path"
}

is_tracked() { [ -n "$GIT_TOP" ] && plain_git --literal-pathspecs -C "$GIT_TOP" ls-files --error-unmatch -- "$1" >/dev/null 2>&1; }

# Prints FILE as seen from DIRECTORY; fails where it is not in it.
below() { # DIRECTORY FILE
    local path
    [ -n "$2" ] && path=$(cd "$(dirname "$2")" 2>/dev/null && pwd -P)/${2##*/} || return 1
    case $path in "$1"/*) printf '%s\n' "${path#"$1"/}" ;; *) return 1 ;; esac
}

# Sets UPLOADED to where the archive is now; where it is small enough it goes with the event, from $TMP/sent.json.
deliver() {
    local payload=0 bucket='' prefix='' key
    UPLOADED=''
    [ -z "$PAYLOAD" ] || payload=$(($(wc -c <"$PAYLOAD")))
    # Lambda takes 6 MiB; what is in an event besides these two is small.
    if [ $(((SENT_BYTES + 2) * 4 / 3 + payload)) -le 6200000 ]; then
        { printf '"' && base64 <"$TMP/sent.tar.gz" | tr -d '\r\n' && printf '"'; } >"$TMP/sent.json"
        return
    fi
    json '{' s:action s:ping >"$TMP/ping"
    ask "$TMP/ping"
    {
        read -r bucket && read -r prefix
    } <<<"$(json_lines "$TMP/call.reply" /settings/bucket /settings/prefix)"
    [ -n "$bucket" ] || die 4 "$BUILDER does not say where its store is" "is it set up? python setup.py update"
    key=${prefix}uploads/${SENT_TREE:-$BUILD_ID}.tar.gz
    UPLOADED=$(json '{' s:bucket "s:$bucket" s:key "s:$key")
    if [ -n "$SENT_TREE" ] && run_aws s3api head-object --bucket "$bucket" --key "$key" >/dev/null 2>&1; then
        say "  s3://$bucket/$key is there already"
        return
    fi
    say "  uploading to s3://$bucket/$key"
    copy "$TMP/sent.tar.gz" "s3://$bucket/$key" \
        "whoever sends this much needs s3:PutObject on $bucket/${prefix}uploads/*; or name what the build does not need in .lambdaignore"
}

# Copies from or to S3.
copy() { # FROM TO HINT for whoever may not
    run_aws s3 cp "$1" "$2" --only-show-errors >"$TMP/copy.err" 2>&1 </dev/null && return
    case $(cat "$TMP/copy.err") in *AccessDenied* | *'(403)'*) die 3 "$(last_lines "$TMP/copy.err")" "$3" ;; esac
    aws_failed "$TMP/copy.err"
}

# ---------------------------------------------------------------------------------------------- the build

# Who asks, for the record. ASCII only: cutting a longer name cannot tear a character apart.
asker() {
    local who
    who=$(ask_git config user.email) || who=''
    who=$(printf '%s' "$who" | LC_ALL=C tr -cd '\041-\176')
    [ -n "$who" ] || who=$(printf '%s' "${USER:-$(id -un)}@${HOSTNAME:-$(uname -n)}" | LC_ALL=C tr -cd '\041-\176')
    printf '%s\n' "${who:0:128}"
}

field() { [ -z "$3" ] || fields+=("s:$1" "$2:$3"); } # NAME TYPE VALUE, see json; one without a value is left out

write_events() {
    local fields=() component components=()
    field action s "${ACTION/preview/rollback}"
    field text j true
    field by s "$(asker)"
    case $ACTION in
        status) [ -n "$BUILD" ] || field function s "$FLAG_f" ;;   # without one, the last builds of all functions
        *) field function s "$FUNCTION" ;;
    esac
    case $ACTION in
        build | plan | package)
            [ -n "$SENDING" ] || field "$REPO_KEY" s "$REPO"
            field source j "$UPLOADED"
            field ref s "$REF"
            field path s "$SUBDIRECTORY"
            field version j "$VERSION"
            field upgrade j "$UPGRADE"
            field force j "$FORCE"
            for component in ${COMPONENTS[@]+"${COMPONENTS[@]}"}; do components+=("s:$component"); done
            [ ${#components[@]} -eq 0 ] || field components j "$(json '[' "${components[@]}")"
            ;;
        preview) field preview j true ;;
        history) field count j "$COUNT" ;;
    esac
    case $ACTION in history | status) ;; *)
        [ "$ACTION" = package ] || field build s "$BUILD"
        if [ -n "$WEIGHT" ]; then field alias j "$(json '{' s:name "s:$ALIAS" s:weight "j:$WEIGHT")"; else field alias s "$ALIAS"; fi ;;
    esac
    field build_id s "$TRACKED"
    record "event: $(json '{' "${fields[@]}")${PAYLOAD:+ and invoke: $PAYLOAD}"
    [ -z "$SENDING" ] || [ -n "$UPLOADED" ] || field archive f "$TMP/sent.json"
    [ "$ACTION" != build ] || field invoke f "$PAYLOAD"   # a plan tries nothing
    json '{' "${fields[@]}" >"$TMP/event"
    json '{' s:action s:status s:build_id "s:$BUILD_ID" s:text j:true >"$TMP/ask"
}

# Starts an invocation in the background: NAME.reply, NAME.meta and NAME.err receive what comes. Its pid is $!.
# fileb:// means the same bytes to both generations of the AWS CLI. A child in the background ignores Ctrl-C.
invoke() { # NAME EVENT_FILE READ_TIMEOUT ATTEMPTS
    : >"$TMP/$1.reply"
    AWS_PAGER='' AWS_MAX_ATTEMPTS=$4 aws lambda invoke --function-name "$BUILDER" --payload "fileb://$2" \
        --cli-read-timeout "$3" --query '[StatusCode,FunctionError]' --output text \
        ${AWS_OPTIONS[@]+"${AWS_OPTIONS[@]}"} "$TMP/$1.reply" >"$TMP/$1.meta" 2>"$TMP/$1.err" </dev/null &
}

# Asks the builder something that it knows at once; the answer is in $TMP/call.reply.
ask() { # EVENT_FILE
    invoke call "$1" 60 3
    wait $! || aws_failed "$TMP/call.err"
    went_well call || builder_broke
}

running() { kill -0 "$1" 2>/dev/null; }

nap() {
    sleep 0.1 2>/dev/null
    case $? in
        0) ;;
        130) INTERRUPTED=true ;;   # Ctrl-C ends it, too
        *) sleep 1 ;;              # a sleep that knows whole seconds only
    esac
}

stop() { # PID, a child of ours
    { kill "$1" && wait "$1"; } 2>/dev/null
    return 0
}

# The exit code of a child of ours that has ended: a Ctrl-C ends bash's `wait` with one of its own.
reap() { # PID
    local code again
    wait "$1"
    code=$?
    if [ $code -gt 128 ]; then
        wait "$1" 2>/dev/null
        again=$?
        [ $again = 127 ] || code=$again   # 127: it is not known any more, the first answer was its own
    fi
    return $code
}

# Waits for the end of the build; sets REPLY_FILE and REPLY_ROOT. The invocation itself brings the reply in the usual
# case; what `status` says is shown meanwhile, and takes its place when the connection breaks or the answer gets lost.
# A Ctrl-C that comes while bash waits for a `$(...)` whose command ends by itself is lost (seen with bash 5.2, where it
# should have run the trap): nothing that is repeated in here uses one.
follow() {
    local started=$SECONDS ticks=0 next_poll=10 grace=20
    SHOWN='' PHASE='waiting for the builder' FAILED_POLLS=0 UNKNOWN=0 INTERRUPTED='' LOST=''
    REPLY_FILE='' REPLY_ROOT=''
    trap 'INTERRUPTED=true' INT
    invoke call "$TMP/event" "$READ_TIMEOUT" 1
    CALL=$!
    while :; do
        if [ -n "$CALL" ] && ! running "$CALL"; then
            reap "$CALL"
            judge_call $?
            CALL=''
        elif [ -n "$POLL" ] && ! running "$POLL"; then
            if ! reap "$POLL" || ! read_status; then FAILED_POLLS=$((FAILED_POLLS + 1)); fi
            POLL='' next_poll=$((ticks + 10))
        fi
        if [ -n "$REPLY_FILE" ]; then
            # Known from `status`: the invocation is about to end as well, unless its connection died silently.
            grace=$((grace - 1))
            if [ -z "$CALL" ] || [ $grace -lt 0 ]; then break; fi
        fi
        [ -z "$INTERRUPTED" ] || ask_to_follow
        [ -n "$CALL" ] || give_up_if_lost
        if [ $((SECONDS - started)) -ge "$FOLLOW_LIMIT" ]; then
            die 3 "build $BUILD_ID did not end within $FOLLOW_LIMIT s" "look for it in the log group /aws/lambda/$BUILDER"
        fi
        if [ -n "$TRACKED" ] && [ -z "$POLL$REPLY_FILE" ] && [ $ticks -ge $next_poll ]; then
            invoke poll "$TMP/ask" 30 2
            POLL=$!
        fi
        [ $ticks -lt 5 ] || draw "[$((SECONDS - started)) s] $PHASE"
        nap
        ticks=$((ticks + 1))
    done
    trap - INT
    clear_line
}

# The invocation has ended: either there is a reply, or the build goes on without us, or it is all over.
judge_call() { # EXIT_CODE
    local text status
    if [ "$1" = 0 ]; then
        went_well call || builder_broke
        json_lines "$TMP/call.reply" /statusCode >"$TMP/told"
        read -r status <"$TMP/told"
        case $status in
            202) ;;   # the same build id is being built already
            '' | *[!0-9]*) die 4 "$BUILDER gave an answer that is not a builder's: $(head -c 300 "$TMP/call.reply" | printable)" \
                "is $BUILDER really the name of the builder? -B names another" ;;
            *)
                REPLY_FILE=$TMP/call.reply REPLY_ROOT=''
                # Asked for a build's status: its end is what is waited for, and this was the first poll.
                if [ "$ACTION$status" = status200 ] && [ -n "$BUILD" ]; then
                    REPLY_FILE=''
                    cp "$TMP/call.meta" "$TMP/poll.meta"
                    cp "$TMP/call.reply" "$TMP/poll.reply"
                    read_status || FAILED_POLLS=1
                fi
                ;;
        esac
        return
    fi
    [ -z "$REPLY_FILE" ] || return 0
    text=$(cat "$TMP/call.err")
    case $text in
        *'(ServiceException)'* | *'(InternalFailure)'* | *'(ServiceUnavailable'* | *'(50'[0-9]')'*) ;;
        *'An error occurred ('* | *'Could not connect'* | *'Connect timeout'* | *[Cc]redentials* | *'could not be found'* | \
            *'specify a region'* | *'Invalid endpoint'* | *'SSL validation'* | *[Tt]'oken'* | *'usage: aws'* | *'Unknown options'*)
            aws_failed "$TMP/call.err"
            ;;
    esac
    [ -n "$TRACKED" ] || aws_failed "$TMP/call.err"
    UNKNOWN=0
    LOST=$(printf '%s\n' "$text" | sed '/^$/d' | tail -n 1)
    say "the connection to the builder broke off; build $BUILD_ID goes on and is followed"
    record "the AWS CLI said: $text"
}

# Whether the invocation ended without an error of the function.
went_well() { # NAME
    local meta
    IFS= read -r -d '' meta <"$TMP/$1.meta"
    case $meta in *None*) return 0 ;; *) return 1 ;; esac
}

read_status() {
    local status='' state='' phase='' message='' error='' reply=''
    went_well poll || return 1
    json_lines "$TMP/poll.reply" /statusCode /build/state /build/phase /build/message /error/code /build/reply/statusCode >"$TMP/told"
    {
        read -r status && read -r state && IFS= read -r phase && IFS= read -r message && read -r error && read -r reply
    } <"$TMP/told"
    case $status.$error in
        200.) FAILED_POLLS=0 UNKNOWN=0 ;;
        *.unknown_build)
            UNKNOWN=$((UNKNOWN + 1))
            return 0
            ;;
        *) return 1 ;;
    esac
    PHASE=$phase${message:+: $message}
    if [ "$PHASE" != "$SHOWN" ] && [ -n "$PHASE" ] && [ "$state" = running ]; then
        SHOWN=$PHASE
        if live; then record "  $PHASE"; else say "  $PHASE"; fi
    fi
    if [ "$state" = succeeded ] || [ "$state" = failed ]; then
        # A build whose builder was killed has ended without a reply.
        [ -n "$reply" ] || die 4 "${message:-the builder stopped before the build ended}" \
            "its log group has more: /aws/lambda/$BUILDER"
        mv "$TMP/poll.reply" "$TMP/end.reply"
        REPLY_FILE=$TMP/end.reply REPLY_ROOT=/build/reply
    fi
}

# Only `status` is left to go by: its silence must not last for ever.
give_up_if_lost() {
    [ "$FAILED_POLLS" -lt 5 ] || die 3 "the builder cannot be asked any more: ${LOST:-$(tail -n 1 "$TMP/poll.err")}" \
        "later: deploy.sh --status $BUILD_ID"
    [ "$UNKNOWN" -lt 15 ] || die 3 "the builder knows nothing of build $BUILD_ID, so it never began: $LOST" "run the command again"
}

ask_to_follow() {
    local answer=''
    INTERRUPTED=''
    trap - INT
    [ -n "$TRACKED" ] || leave 130
    say "interrupted; build $BUILD_ID goes on in the builder"
    if [ -t 0 ]; then
        printf 'Keep following it? [Y/n] ' >&2
        read -r answer || answer=n
    else
        answer=n
    fi
    case $answer in
        [nN]*)
            say "to see its end: deploy.sh --status $BUILD_ID"
            leave 130
            ;;
    esac
    trap 'INTERRUPTED=true' INT
}

# ---------------------------------------------------------------------------------------------- failures

# The builder raised: that is a fault of the builder, its limits or its setup, never of the project.
builder_broke() {
    local type='' message='' hint='this is a fault of the builder; its log group has more: /aws/lambda/'$BUILDER
    {
        IFS= read -r type && IFS= read -r message
    } <<<"$(json_lines "$TMP/call.reply" /errorType /errorMessage)"
    case $type$message in
        *'timed out'*) hint='give the builder more time: timeout in [builder] of config.ini, then python setup.py update' ;;
        *OutOfMemory* | *'signal: killed'*) hint='give the builder more memory: memory in [builder] of config.ini, then python setup.py update' ;;
        *ImportModule* | *Runtime.*) hint="is $BUILDER set up? python setup.py status" ;;
    esac
    record "reply: $(cat "$TMP/call.reply")"
    die 4 "the builder broke: ${type:+$type: }${message:-$(head -c 300 "$TMP/call.reply" | printable)}" "$hint"
}

aws_failed() { # FILE with what the AWS CLI said
    local text hint=''
    text=$(last_lines "$1")
    case $text in
        *ResourceNotFoundException*) hint="there is no function $BUILDER in this account and region: -B, -r, -p; or python setup.py init" ;;
        *AccessDenied*) hint="whoever deploys needs lambda:InvokeFunction on $BUILDER" ;;
        *Expired* | *expired* | *'SSO'*) hint='sign in again' ;;
        *'locate credentials'* | *'artial credentials'*) hint='aws configure, or name a profile: -p' ;;
        *'specify a region'*) hint='name a region: -r, AWS_REGION or aws_region in config.ini' ;;
        *TooManyRequests*) hint='the builder has reached its concurrency limit: try again' ;;
    esac
    die 3 "${text:-the AWS CLI failed without a message}" "$hint"
}

finish() {
    local status='' same='' commit='' times=''
    {
        read -r status && read -r same && read -r commit
    } <<<"$(json_lines "$REPLY_FILE" "$REPLY_ROOT/statusCode" "$REPLY_ROOT/verify/same" "$REPLY_ROOT/commit")"
    record "reply: $(bare_reply "$REPLY_FILE")"
    case $status in
        2??) ;;
        *)
            tell "$REPLY_FILE" 2 'deploy.sh: '
            tell_only_here ''
            exit 1
            ;;
    esac
    [ "$ACTION" != package ] || collect
    tell "$REPLY_FILE" 1
    [ -z "$BROUGHT" ] || result "$BROUGHT"
    [ -z "$TIMES" ] || times=$(text_of "$REPLY_FILE" times)
    [ -z "$times" ] || result "$times$NL$(printf '    %-16s %7.2f s' 'from here' "${WALL:-0}")"
    tell_only_here "$commit"
    [ "$same" != false ] || exit 1
}

# ---------------------------------------------------------------------------------------------- what was packaged

# Prints for each zip that FILE, a reply, tells of: its place below OUT, its name, how many files it has, SHA-256, bucket, key.
zips() { # FILE
    read_json "$1" '
        for (i = 0; ((p = ROOT "/packages/" i "/") "name") in V; i++) there[V[p "name"]] = V[p "bucket"] " " V[p "key"]
        for (i = 0; ((p = ROOT "/artifacts/" i "/") "name") in V; i++) {
            name = V[p "name"]
            if (name ~ /^[-A-Za-z0-9_]+$/) print (name == "function" ? name : "layers/" name) ".zip", name, V[p "files"] + 0, V[p "sha256"], there[name]
        }'
}

# Brings what the reply names to OUT, for everybody to read: Lambda runs as somebody else than who unpacks.
collect() {
    local place name count bucket key hash kept='' names='' files=''
    umask 022
    zips "$REPLY_FILE" >"$TMP/zips"
    : >"$TMP/before"
    ! [ -f "$OUT/build.json" ] || REPLY_ROOT='' zips "$OUT/build.json" >"$TMP/before"
    while read -r place name count hash bucket key <&3; do
        [ -n "$key" ] || die 4 "$BUILDER does not say where it put what was built" 'is it older than this file? python setup.py update'
        names="$names${names:+, }$name"
        if [ "$UNPACK" = "$name" ]; then
            bring "$bucket" "$key" "$hash" "$TMP/component.zip"
            unpack "$TMP/component.zip" >"$TMP/unpack.err" 2>&1 || die 3 "cannot unpack to $OUT: $(last_lines "$TMP/unpack.err")"
            BROUGHT="  unpacked      $name into $OUT, $(counted "$count" file files)"
            return
        fi
        [ -z "$UNPACK" ] || continue
        mkdir -p "$(dirname "$OUT/$place")" || die 2 "$OUT cannot be written to"
        bring "$bucket" "$key" "$hash" "$OUT/$place"
        kept="$kept $place"
        files="$files${files:+, }\"$name\": \"$place\""
    done 3<"$TMP/zips"
    [ -z "$UNPACK" ] || die 1 "--unpack: the build file has no component $UNPACK" "it has $names"
    while read -r place _; do
        case "$kept " in *" $place "*) ;; *) rm -f "$OUT/$place" ;; esac
    done <"$TMP/before"
    rmdir "$OUT/layers" 2>/dev/null   # if it is empty
    { printf '{"files": {%s}, ' "$files" && bare_reply "$REPLY_FILE" | tail -c +2; } >"$OUT/build.json" || die 2 "$OUT cannot be written to"
    BROUGHT="  brought to    $OUT:$kept"
}

# Downloads an object, unless FILE is that already; FILE appears whole or not at all.
bring() { # BUCKET KEY SHA256 FILE
    if [ -f "$4" ] && [ "$(sha256 "$4")" = "$3" ]; then return; fi
    PART=$4.part
    copy "s3://$1/$2" "$PART" "whoever fetches what was built needs s3:GetObject on $1/${2%/*}/*"
    case $(sha256 "$PART") in '' | "$3") ;; *) die 3 "s3://$1/$2 has other content than its name says" 'run the command again' ;; esac
    touch "$PART"   # the AWS CLI gives it the object's age, which make would take for older than what it is made of
    mv -f "$PART" "$4" || die 2 "$4 cannot be written"
    PART=''
}

# Prints a file's SHA-256 in hexadecimal, or nothing where no tool can tell.
sha256() { # FILE
    local tool
    for tool in 'sha256sum' 'shasum -a 256' 'openssl dgst -sha256 -r'; do
        command -v "${tool%% *}" >/dev/null || continue
        # shellcheck disable=SC2086  # words
        $tool <"$1" | awk '{ print $1 }'
        return
    done
}

# Prints the first tool that unpacks a zip and keeps what is executable so. macOS and Windows have bsdtar as tar.
unzipper() {
    local tool
    for tool in unzip bsdtar python3; do
        if command -v "$tool" >/dev/null; then
            printf '%s\n' "$tool"
            return
        fi
    done
    case $(tar --version 2>/dev/null) in *bsdtar*) printf 'tar\n' ;; esac
}

unpack() { # FILE
    case $(unzipper) in
        unzip) unzip -q -o "$1" -d "$OUT" ;;
        bsdtar) bsdtar -x -f "$1" -C "$OUT" ;;
        tar) tar -x -f "$1" -C "$OUT" ;;
        *) python3 -c '
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    for entry in archive.infolist():
        path = archive.extract(entry, sys.argv[2])
        if entry.external_attr >> 16 & 0o100:
            os.chmod(path, 0o755)
' "$1" "$OUT" ;;
    esac
}

clean_up() {
    clear_line
    [ -z "$CALL" ] || stop "$CALL"
    [ -z "$POLL" ] || stop "$POLL"
    [ -z "$PART" ] || rm -f "$PART"
    [ -z "$TMP" ] || rm -rf "$TMP"
}

main() {
    find_project "${BASH_SOURCE[0]}"
    parse_flags "$@"
    read_config
    open_log
    record "deploy.sh in $PROJECT"
    need_tools
    read_git
    settle
    refuse_wrong_use
    TMP=$(mktemp -d "${TMPDIR:-/tmp}/lambdasmith.XXXXXX") || die 3 'no temporary directory can be made'
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 143' TERM
    ACCOUNT='' SHOWN_REGION=$REGION UPLOADED=''
    [ -z "$SENDING" ] || pack 4>&2
    [ -z "$ASKS" ] || identify
    case $ACTION in history | status) ;; *) describe ;; esac
    if [ "$ACTION" = preview ] || [ "$ASKS" = 'Roll back' ]; then preview; fi
    [ -z "$ASKS" ] || confirm
    [ -z "$SENDING" ] || deliver
    write_events
    # `time` is the only clock of bash 3.2 that knows fractions of a second; it writes to stderr.
    local TIMEFORMAT=%R LC_NUMERIC=C
    { time follow 2>&3; } 3>&2 2>"$TMP/wall"
    WALL=$(tail -n 1 "$TMP/wall")
    finish
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then   # sourced, this file only defines its functions
    if [ -n "${LAMBDASMITH_DEBUG:-}" ]; then
        PS4='+ ${BASH_SOURCE##*/}:$LINENO: '   # expanded at each line of the trace
        set -x
    fi
    main ${1+"$@"}   # before bash 4.4 an empty "$@" may count as unset
fi
