#!/usr/bin/env bash
# Builds a project with the Lambdasmith builder and deploys it as a Lambda function, or as several.
#
# usage: deploy.sh [option...] [component or function...]
#        deploy.sh --package DIR | --unpack DIR [option...] [component...]
#        deploy.sh --rollback | --verify | --status [option...] [BUILD]
#        deploy.sh --history [option...] [N]
#
# Copy this one file into the directory of your build.yaml. It needs bash and the AWS CLI (1 or 2), nothing else; git
# for -s, and where there is a repository. What is not pushed or not committed is not built, unless -s sends it.
# Components are `function`, `dependencies` and the names of your layers; without any word, all are brought up to date.
# More, and all settings of config.ini and the environment: docs/reference.md#deploysh
#
#   -a ALIAS          let this alias point to the new version
#   -b GIT_BRANCH     branch, tag or commit to build     (default: what is checked out here, else the default branch)
#   -c CONFIG_FILE    settings                           (default: config.ini beside this file, if it is there)
#   -f FUNCTION_NAME  function to deploy                 (default: the project, named after this file's directory)
#   -g GIT_REPO       URL, owner/name, or a plain name   (default: git's origin, else the name of the directory)
#   -i PAYLOAD.json   invoke what was deployed with this event, with -a before the alias moves; errors fail the deploy
#   -l LOG_FILE       every run is appended to it        (default: deploy.log beside this file)
#   -p AWS_PROFILE    profile of the AWS CLI
#   -r AWS_REGION     region of the builder
#   -s [DIR]          send the files that are here, committed or not, instead of building what git's server has (also:
#                     --send). With DIR, written with a slash or a dot, all is as if this file were in that directory
#   -w WEIGHT         part of the alias's traffic that the new version gets: 0.1 is a tenth   (default: all)
#   -B BUILDER        name of the builder function       (default: lambdasmith)
#   -t                show how long each phase took
#   -v                publish a version
#   -y                do not ask
#   -n                only show what would be built and published, or what --rollback would change; changes nothing
#   -h                this help
#   --upgrade         resolve the dependencies again instead of using those that were locked
#   --force           build even what was built before
#   --stage STAGE     one of the build file's stages
#   --template FILE   the template in this directory that describes the project, instead of a build file
#   --stack NAME      an existing stack of that template: its functions get new code and layers at once, as its next
#                     deploy brings them
#   --parameter K=V   value of a template's parameter, instead of its default; may be repeated
#   --independent     of several functions, publish those that can be built, even if others cannot
#
# Instead of a deploy:
#
#   --package DIR       build, and bring the zips that Lambda would get, and the reply as DIR/build.json
#   --package-template FILE  build a SAM or CloudFormation template, and write it with the places of what was built:
#                       sam deploy -t FILE, or aws cloudformation deploy, takes it from there
#   --unpack DIR        build, and put the files of one component (default: function; of several functions it is
#                       FUNCTION/COMPONENT) into DIR, which is empty or not there
#   --rollback [BUILD]  return to that build, without one to the build before the present; with -a by moving the alias
#   --history [N]       the last N deploys   (default: 20)
#   --status [BUILD]    follow that build to its end; without one: the last builds (with -f of that function), and
#                       the storage that is used
#   --verify [BUILD]    build what is deployed (or what that build deployed) again and compare, byte for byte
#
# When the connection breaks or Ctrl-C is pressed the build goes on in the builder: --status BUILD shows its end. While
# many invocations make many functions, Ctrl-C also offers to stop it.
#
# exit: 0 done   1 the builder refused or failed, or --verify found a difference
#       2 wrong usage or configuration, or no one there to confirm   3 AWS, the AWS CLI or the network
#       4 the builder itself broke   5 not confirmed   130 interrupted

# shellcheck disable=SC2016  # awk's dollars

set -u -o pipefail
umask 077
unset CDPATH   # with it, cd prints where it went

NL='
'
OLDER='is it older than this file? python setup.py update'
TMP='' CALL='' POLL='' LOG='' PART='' DRAWN='' PROBLEMS=() UNHINTED='' ONLY_HERE='' WALL='' BROUGHT=''

# ---------------------------------------------------------------------------------------------- output

# Progress and messages go to stderr, results to stdout, both to the log.
say() { emit 2 "$*"; }

emit() { # DESCRIPTOR TEXT
    clear_line
    make_plain "$2"
    printf '%s\n' "$PLAIN" >&"$1"
    record "$PLAIN"
}

record() {
    [ -n "$LOG" ] || return 0
    local now line
    make_plain "$1"
    date '+%Y-%m-%dT%H:%M:%S%z' >"$TMP/now"   # not by $(...): see follow
    IFS= read -r now <"$TMP/now"
    while IFS= read -r line; do
        printf '%s %s\n' "$now" "$line"
    done <<<"$PLAIN" >&9
}

# Sets PLAIN to a text without what a terminal would obey. Most have nothing of it, and then no process is started.
make_plain() { # TEXT
    local LC_ALL=C
    PLAIN=$1
    case $PLAIN in
        *[$'\001'-$'\010'$'\013'-$'\037'$'\177']* | *$'\302'* | *$'\330\234'* | *$'\342\200'* | *$'\342\201'* | \
            *$'\357\273\277'* | *$'\363\240'*)
            PLAIN=$(printf '%s\n' "$PLAIN" | printable)
            ;;
    esac
}

# No terminal sequences, turned directions or invisible characters out of other people's output: C0 goes, what is left
# of a sequence is harmless; C1 and the others, in UTF-8, become question marks, since what stood around them must not
# join. With `colour` the colours stay.
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
    local each
    for each in "${PROBLEMS[@]}"; do say "$each"; done
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

has_build_file() {
    local name
    for name in ${FLAG_template:+"$FLAG_template"} {build,template,serverless}.{yaml,yml,json}; do
        [ ! -f "$1/$name" ] || return 0
    done
    return 1
}

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
        [[ $answer = *"not a git repository"* ]] || GIT_TROUBLE=${answer%%"$NL"*}
        [ -z "$GIT_TROUBLE" ] || say "note: git says: $GIT_TROUBLE"
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
    local url=$1
    case $url in
        *://* | /* | .* | '~'* | [A-Za-z]:[\\/]*) ;;
        *:*) url=ssh://${url%%:*}/${url#*:} ;;   # as scp writes it
    esac
    # A port of ssh's is not that of https, and a host without a dot is a name out of ~/.ssh/config.
    printf '%s\n' "$url" | sed -n -e 's|/$||' -e 's|//[^/]*@|//|' -e '/^https\{0,1\}:/p' -e 's|^git+ssh:|ssh:|' \
        -e 's|^git:|ssh:|' -e 's|^ssh://\([^/:]*[.][^/:]*\)\(:[0-9]*\)\{0,1\}//*\(.*\)|https://\1/\3|p'
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

DEPLOY_KEYS="function function_name repo git_repo branch git_branch alias stage invoke log log_file components version \
time yes prompt_before_deploy plan"

read_config() {
    local line key
    unset "${!CONFIGURED_@}"   # what the environment has of that name is no setting
    CONFIG_FILE=${FLAG_c:-${LAMBDASMITH_CONFIG:-}}
    if [ -z "$CONFIG_FILE" ]; then
        CONFIG_FILE=$PROJECT/config.ini
        [ -e "$CONFIG_FILE" ] || return 0
    fi
    if ! [ -f "$CONFIG_FILE" ] || ! [ -r "$CONFIG_FILE" ]; then
        problem "$CONFIG_FILE: no such file, or not readable"
        return
    fi
    LC_ALL=C awk -v SECRET= "$INI_READER" <"$CONFIG_FILE" >"$TMP/config" || die 2 "$CONFIG_FILE: cannot be read"
    while IFS= read -r line; do
        key=${line%%=*}
        case $line in
            '!'*) problem "$CONFIG_FILE:${line#!}" 'write it as key = value' ;;
            deploy.*) [[ " $DEPLOY_KEYS " = *" ${key#deploy.} "* ]] ||
                problem "$CONFIG_FILE: [deploy] ${key#deploy.}: unknown key" "known are: $DEPLOY_KEYS" ;;
        esac
        case $key in *[!a-z_.]*) ;; *) eval "CONFIGURED_${key//./_}=\${line#*=}" ;; esac
    done <"$TMP/config"
}

# Sets NAME to the first of: FLAG_VALUE, the variable, the keys of the file; and ORIGIN to where it came from.
setting() { # NAME FLAG_VALUE VARIABLE SECTION.KEY...
    local source
    VALUE=$2 ORIGIN=flag
    for source in "${@:3}"; do
        [ -z "$VALUE" ] || break
        ORIGIN=$source
        case $source in *.*) ORIGIN=$CONFIG_FILE source=CONFIGURED_${source//./_} ;; esac
        VALUE=${!source:-}
    done
    [ -n "$VALUE" ] || ORIGIN=''
    eval "$1=\$VALUE"   # not by printf -v, which in bash 3.2 may leave it as it was where the value is empty
}

switch() { # as setting; leaves it true or empty
    setting "$@"
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

# A path in the file means the same wherever the script is called from: makes VALUE, just set, such a path.
resolve_path() {
    case $VALUE in '' | /*) ;; *) [ "$ORIGIN" != "$CONFIG_FILE" ] || VALUE=$(dirname "$CONFIG_FILE")/$VALUE ;; esac
}

parse_flags() {
    FLAG_a='' FLAG_b='' FLAG_c='' FLAG_f='' FLAG_g='' FLAG_i='' FLAG_l='' FLAG_p='' FLAG_r='' FLAG_w='' FLAG_B=''
    FLAG_t='' FLAG_v='' FLAG_y='' FLAG_n='' FLAG_stage='' FLAG_template='' FLAG_stack=''
    PARAMETERS='' UPGRADE='' FORCE='' INDEPENDENT=''
    ACTION=build SENDING='' OUT='' UNPACK='' TEMPLATE='' WORDS=()
    local option directory='' what OPTIND OPTARG
    while [ $# -gt 0 ]; do
        OPTIND=1
        while getopts ':a:b:c:f:g:i:l:p:r:w:B:stvynh-:' option; do
            [ "$option" != - ] || option=-$OPTARG
            case $option in
                [abcfgilprwB]) eval "FLAG_$option=\$OPTARG" ;;
                [tvyn]) eval "FLAG_$option=true" ;;
                -upgrade) UPGRADE=true ;;
                -force) FORCE=true ;;
                -independent) INDEPENDENT=true ;;
                -parameter)
                    what=${!OPTIND:-} OPTIND=$((OPTIND + 1))
                    case $what in ?*=*) ;; *) problem '--parameter needs a name and a value' '--parameter NAME=VALUE' ;; esac
                    quote "${what%%=*}"
                    PARAMETERS="$PARAMETERS${PARAMETERS:+, }$QUOTED"
                    quote "${what#*=}"
                    PARAMETERS="$PARAMETERS: $QUOTED"
                    ;;
                -stage | -stack | -template)
                    case ${!OPTIND:-} in
                        '' | -*) problem "-$option needs the name of a ${option#-}" ;;
                        *) eval "FLAG_${option#-}=\${!OPTIND}" OPTIND=$((OPTIND + 1)) ;;
                    esac
                    ;;
                s | -send)
                    SENDING=true
                    if is_place "${!OPTIND:-}"; then
                        directory=${!OPTIND}
                        OPTIND=$((OPTIND + 1))
                    fi
                    ;;
                h | -help) show_help; exit 0 ;;
                -package | -package-template | -unpack | -rollback | -history | -status | -verify)
                    case $ACTION in
                        build | "$OPTARG") ACTION=$OPTARG ;;
                        *) problem "--$OPTARG together with --$ACTION: one of them at a time" ;;
                    esac
                    case "$OPTARG ${!OPTIND:-}" in
                        package*' ' | unpack' ' | package*' -'* | unpack' -'*)
                            what=directory
                            [ "$OPTARG" != package-template ] || what='file'
                            problem "--$OPTARG needs the $what that is written to"
                            ;;
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
    # The builder would not hear of these. What else means nothing to an action is refused there.
    local idle="$ACTION${SENDING:+ -s}${FLAG_n:+ -n}"
    case $idle in
        build* | 'package -s' | 'package-template -s' | 'unpack -s' | 'rollback -n') ;;
        *' -'*) problem "--${idle/ / with }: it means nothing there" 'leave it out' ;;
    esac
    # To the builder it is the same.
    if [ "$ACTION" = unpack ]; then ACTION=package UNPACK=true; fi
    if [ "$ACTION" = package-template ]; then ACTION=package TEMPLATE=$OUT OUT=''; fi
    [ -z "$SENDING" ] || choose_project "$directory"
}

# Sets PROJECT to what -s names, if anything can be built there.
choose_project() { # DIRECTORY, or nothing for that of this file
    local directory=$PROJECT
    if [ -n "$1" ] && ! directory=$(cd "$1" 2>/dev/null && pwd -P); then
        problem "-s $1: no such directory" '-s alone sends the directory of this file'
    elif ! has_build_file "$directory"; then
        problem "-s: $directory has no build.yaml (or .yml, .json) and no template.yaml" '-s DIR names another directory'
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

settle() {
    setting FUNCTION "$FLAG_f" LAMBDASMITH_DEPLOY_FUNCTION deploy.function deploy.function_name aws.function_name \
        .function_name
    setting BUILDER "$FLAG_B" LAMBDASMITH_BUILDER_FUNCTION_NAME builder.function_name
    # What no one has named is a project to the builder, whose build file says which functions it has.
    NAME_KEY=function BUILDER=${BUILDER:-lambdasmith}
    [ -n "$FUNCTION" ] || NAME_KEY=project FUNCTION=${PROJECT##*/}
    switch TIMES "$FLAG_t" LAMBDASMITH_DEPLOY_TIME deploy.time
    switch YES "$FLAG_y" LAMBDASMITH_DEPLOY_YES deploy.yes
    if [ -z "$ORIGIN" ]; then   # nothing says yes or no
        switch VALUE '' LAMBDASMITH_DEPLOY_PROMPT_BEFORE_DEPLOY deploy.prompt_before_deploy aws.prompt_before_deploy \
            .prompt_before_deploy
        [ -n "$VALUE" ] || [ -z "$ORIGIN" ] || YES=true
    fi
    switch PLAN "$FLAG_n" LAMBDASMITH_DEPLOY_PLAN deploy.plan
    # What config.ini says of deploys is nothing to other actions. A flag is sent in any case: the builder refuses what
    # has no meaning, and says why.
    BUILD='' COUNT='' COMPONENTS=() ALIAS=$FLAG_a VERSION=$FLAG_v STAGE=$FLAG_stage PAYLOAD=$FLAG_i ORIGIN=flag ASKS=''
    REPO=$FLAG_g REPO_KEY=repo REF=$FLAG_b SUBDIRECTORY=''
    WEIGHT=${FLAG_w/#./0.}   # JSON wants the zero
    [ "$ACTION" = status ] || setting STAGE "$FLAG_stage" LAMBDASMITH_DEPLOY_STAGE deploy.stage
    case $ACTION in build | rollback | verify) setting ALIAS "$FLAG_a" LAMBDASMITH_DEPLOY_ALIAS deploy.alias ;; esac
    case $ACTION in
        build)
            switch VERSION "$FLAG_v" LAMBDASMITH_DEPLOY_VERSION deploy.version
            [ -z "$PLAN" ] || ACTION=plan
            setting VALUE "$FLAG_i" LAMBDASMITH_DEPLOY_INVOKE deploy.invoke
            resolve_path
            PAYLOAD=$VALUE
            ;;
        package) settle_out ;;
        history) COUNT=${WORDS[*]-} ;;
        *) BUILD=${WORDS[*]-} ;;
    esac
    [ "$ACTION$PLAN" != rollbacktrue ] || ACTION=preview
    check_payload
    case $ACTION in build | plan | package) settle_source ;; esac
    settle_aws
    BUILD_ID=${LAMBDASMITH_BUILD_ID:-$(date '+%Y%m%d-%H%M%S')-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')}
    [ "$ACTION" != status ] || BUILD_ID=$BUILD
    # The actions whose end `status` knows as well.
    case $ACTION in build | package | rollback | status) TRACKED=$BUILD_ID ;; *) TRACKED='' ;; esac
    READ_TIMEOUT=${LAMBDASMITH_READ_TIMEOUT:-0} FOLLOW_LIMIT=${LAMBDASMITH_FOLLOW_LIMIT:-960}
    whole_number LAMBDASMITH_READ_TIMEOUT "$READ_TIMEOUT"
    whole_number LAMBDASMITH_FOLLOW_LIMIT "$FOLLOW_LIMIT"
    case $ACTION$YES in build) ASKS=Deploy ;; rollback) ASKS='Roll back' ;; esac
    [ -z "$ASKS" ] || [ -t 0 ] || problem 'there is no terminal to ask on' \
        '-y goes ahead without asking; -n only shows what would be done'
}

whole_number() { [[ $2 =~ ^[0-9]+$ ]] || problem "$1: '$2' is not a whole number of seconds" 'a number, or nothing'; }

# Whether it has JSON is Lambda's to say: see aws_failed.
check_payload() {
    [ -n "$PAYLOAD" ] || return 0
    if ! [ -f "$PAYLOAD" ] || ! [ -r "$PAYLOAD" ]; then
        problem "payload $PAYLOAD: no such file, or not readable" '-i names a file with the event as JSON'
    elif [ "$(tr -d ' \t\r\n' <"$PAYLOAD")" = null ]; then
        problem "payload $PAYLOAD: to the builder, null is no event at all" 'an event without content is {}'
    fi
}

# Sets QUOTED to TEXT as a JSON string. Most texts have nothing to escape, and then no process is started.
quote() { # TEXT
    QUOTED="\"$1\""
    case $1 in *[\\\"[:cntrl:]]*) ;; *) return ;; esac
    # By bytes in hexadecimal: what JSON wants escaped as JSON escapes it, all else for printf to turn back.
    QUOTED=$(printf '%s' "$1" | od -An -v -tx1 | tr -s ' \n' '  ' |
        sed -e 's/ *$//' -e 's/ 22/\\\\"/g' -e 's/ 5c/\\\\\\\\/g' -e 's/ \([01].\)/\\\\u00\1/g' -e 's/ /\\x/g')
    QUOTED="\"$(printf '%b' "$QUOTED")\""
}

# Makes OUT an absolute path, and refuses what cannot be written or would mix with what is there.
settle_out() {
    local typed=$OUT
    if [ -n "$UNPACK" ]; then
        UNPACK=${WORDS[*]-}
        UNPACK=${UNPACK:-function} WORDS=()   # all are built all the same: only together they can be tried
        command -v unzip >/dev/null || command -v python3 >/dev/null ||
            problem '--unpack: neither unzip nor python3 is installed' 'install unzip'
    fi
    [ -z "$TEMPLATE" ] || [ -w "$(dirname "$TEMPLATE")" ] || problem "$TEMPLATE: cannot be written" 'name another'
    [ -n "$OUT" ] || return 0
    if ! (umask 022 && mkdir -p "$OUT") 2>/dev/null || ! OUT=$(cd "$OUT" && pwd -P) || ! [ -w "$OUT" ]; then
        problem "$typed: is not a directory that can be written to" 'name another'
    elif [ -n "$UNPACK" ] && [ -n "$(ls -A "$OUT")" ]; then
        problem "--unpack $typed: is not empty" \
            'what no longer belongs to the component would stay; empty it, or name a new one'
    fi
}

# Sets COMPONENTS, REPO_KEY and REPO (what the event says), REF, SUBDIRECTORY and for the description REF_WHY.
settle_source() {
    COMPONENTS=(${WORDS[@]+"${WORDS[@]}"})
    if [ ${#COMPONENTS[@]} -eq 0 ] && [ -z "$UNPACK" ]; then
        setting VALUE '' LAMBDASMITH_DEPLOY_COMPONENTS deploy.components
        IFS=' ' read -r -a COMPONENTS <<<"${VALUE//,/ }"
    fi
    REPO='' REF='' REF_WHY='the default branch' SUBDIRECTORY='' HERE=''
    if [ -n "$SENDING" ]; then
        settle_sending
        return
    fi
    local here
    here=$(base_name "${GIT_TOP:-$PROJECT}")
    setting REPO "$FLAG_g" LAMBDASMITH_DEPLOY_REPO deploy.repo deploy.git_repo aws.git_repo .git_repo
    case $REPO in
        '')
            REPO=${GIT_ORIGIN:-$here}
            HERE=true
            ;;
        http*://*@*) [[ ${REPO#*://} != *@*/* ]] || problem 'the URL of the repository contains credentials' \
            'leave them out: the builder has its own, from python setup.py init' ;;
        http://* | https://*) ;;
        /* | ./* | ../* | '~'* | file:*) problem "repository $REPO: the builder cannot read this machine's disk" \
            "give the URL, owner/name or name under which it can be fetched" ;;
        *:*)
            VALUE=$(https_url "$REPO")
            REPO=${VALUE:-$REPO}
            ;;
    esac
    case $REPO in */* | *:*) REPO_KEY=repo ;; *) REPO_KEY=repo_name ;; esac
    # What is checked out here says nothing about another repository.
    case $(base_name "$REPO") in "$here" | "$(base_name "${GIT_ORIGIN:-$here}")") HERE=true ;; esac
    setting VALUE "$FLAG_b" LAMBDASMITH_DEPLOY_BRANCH deploy.branch deploy.git_branch aws.git_branch .git_branch
    if [ -n "$VALUE" ]; then
        REF=$VALUE REF_WHY=$VALUE
    elif [ -n "$HERE" ] && [ -n "$GIT_REF" ]; then
        REF=$GIT_REF REF_WHY="$GIT_REF (checked out here)"
    fi
    [ -z "$HERE" ] || SUBDIRECTORY=$GIT_SUBDIRECTORY
}

# As settle_source, for files that are sent.
settle_sending() {
    local flag tool
    for flag in "g$FLAG_g" "b$FLAG_b"; do
        [ -z "${flag:1}" ] ||
            problem "-${flag:0:1} together with -s: either what git has or what is here" 'leave one of them out'
    done
    for tool in git base64; do
        command -v $tool >/dev/null || problem "-s: $tool is not installed (or not on the PATH)" 'install it'
    done
    [ -z "$GIT_TROUBLE" ] ||
        problem "-s: git does not tell which files of $PROJECT count: $GIT_TROUBLE" 'fix that first'
    # A directory that the repository around it ignores has nothing to do with it.
    if [ -n "$GIT_SUBDIRECTORY" ] && [ -z "$(ask_git ls-files .)" ] && ask_git check-ignore -q .; then
        GIT_TOP='' GIT_SUBDIRECTORY=''
    fi
    SUBDIRECTORY=$GIT_SUBDIRECTORY
}

# Sets AWS_OPTIONS, PROFILE and REGION. Credentials out of the file go to the AWS CLI in its environment.
settle_aws() {
    AWS_OPTIONS=()
    setting PROFILE "$FLAG_p" LAMBDASMITH_AWS_AWS_PROFILE
    if [ -z "$PROFILE" ] && [ -z "${AWS_PROFILE:-}${AWS_DEFAULT_PROFILE:-}${AWS_ACCESS_KEY_ID:-}" ]; then
        [ -n "${LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID:-}" ] ||
            setting PROFILE '' LAMBDASMITH_AWS_AWS_PROFILE aws.aws_profile .aws_profile
        [ -n "$PROFILE" ] || use_key_pair
    fi
    [ -z "$PROFILE" ] || AWS_OPTIONS+=(--profile "$PROFILE")
    # AWS CLI 1 does not know AWS_REGION.
    REGION=${FLAG_r:-${LAMBDASMITH_AWS_AWS_REGION:-${AWS_REGION:-${AWS_DEFAULT_REGION:-}}}}
    setting REGION "$REGION" LAMBDASMITH_AWS_AWS_REGION aws.aws_region .aws_region
    [ -z "$REGION" ] || AWS_OPTIONS+=(--region "$REGION")
    PROFILE=${PROFILE:-${AWS_PROFILE:-${AWS_DEFAULT_PROFILE:-}}}
}

use_key_pair() {
    { local tracing=$- && set +x; } 2>/dev/null   # a trace must not show them
    setting VALUE '' LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID aws.aws_access_key_id
    local key=$VALUE secret=${LAMBDASMITH_AWS_AWS_SECRET_ACCESS_KEY:-}
    if [ -n "$key" ]; then
        if [ -z "$secret" ] && [ -f "$CONFIG_FILE" ]; then
            secret=$(LC_ALL=C awk -v SECRET=aws.aws_secret_access_key "$INI_READER" <"$CONFIG_FILE")
        fi
        [ -n "$secret" ] ||
            problem 'aws_access_key_id is given without aws_secret_access_key' 'give both, or name a profile'
        export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret
    fi
    case $tracing in *x*) set -x ;; esac
}

open_log() {
    local file why=''
    setting VALUE "$FLAG_l" LAMBDASMITH_DEPLOY_LOG deploy.log deploy.log_file aws.log_file .log_file
    resolve_path
    file=${VALUE:-$PROJECT/deploy.log}
    if ! write_log_to "$file"; then
        [ -z "$VALUE" ] || problem "log file $file: $why" '-l names another'
        [ -n "$VALUE" ] || say "note: $file $why, there is no log of this run"
    fi
}

# Opens the log as descriptor 9 and sets LOG. A project can come with a deploy.log that is a link to a file of the user:
# no link is followed, symbolic or hard, and what was opened must be what is there. The log is for its owner alone.
write_log_to() { # FILE; its caller's `why` says what is wrong
    local mode links owner
    why='is a symbolic link'
    [ ! -L "$1" ] || return 1
    why='cannot be written'
    # A pipe would hold us up, also with noclobber.
    [ -c "$1" ] || [ -f "$1" ] || [ ! -e "$1" ] || return 1
    [ -e "$1" ] || (umask 077 && set -o noclobber && : >"$1") 2>/dev/null || return 1
    (: >>"$1") 2>/dev/null && { exec 9>>"$1"; } 2>/dev/null || return 1
    LOG=$1
    [ ! -c "$1" ] || return 0   # /dev/null
    why='has other names (hard links), or belongs to someone else'
    # shellcheck disable=SC2012  # the only way that every system has
    read -r mode links owner _ <<<"$(ls -ldn -- "$1")"
    if [ "${mode:0:1}$links.$owner" = "-1.$(id -u)" ]; then
        why='cannot be kept for its owner alone'
        ! chmod 600 -- "$1" 2>/dev/null || return 0
    fi
    exec 9>&-
    LOG=''
    return 1
}

# ---------------------------------------------------------------------------------------------- JSON

# Reads a reply by its quotes: each PART is what is between two of them, escapes included. A builder's reply ends with
# "text": {"shell": "..."}}, and that string has neither quotes nor escapes. Nothing else can end like this: quotes in
# other strings are escaped, and the text of a member further inside would be followed by more braces.
# Prints what the reply tells this script, percent-encoded; with BARE the reply as it came, but for its text, and with
# ENDED the one in the state of a build. Splitting at quotes keeps the time linear; with LC_ALL=C any awk counts bytes.
REPLY_READER='
BEGIN { RS = "\"" }
{ part[NR] = $0 }
END {
    ours = part[NR] ~ /^ *} *}[ \n]*$/ && part[NR - 2] ~ /^ *: *$/ && part[NR - 3] == "shell" && \
        part[NR - 4] ~ /^ *: *[{] *$/ && part[NR - 5] == "text" && part[NR - 6] ~ /, *$/
    if (BARE) bare()
    else if (ours) print part[NR - 1]
    else foreign()
}
function bare(    from, to, i) {
    from = 1
    if (ENDED) {
        while (from < NR && !(part[from] == "reply" && part[from + 1] ~ /^ *: *[{]/)) from++
        sub(/^ *: */, "", part[++from])
    }
    to = NR
    if (ours) {
        to = NR - 6; sub(/, *$/, "", part[to])
        if (!ENDED) part[to] = part[to] "}"; else sub(/} *$/, "", part[to])
    }
    ORS = ""
    for (i = from; i <= to; i++) print part[i] (i < to ? "\"" : "\n")
}
# What a builder that is older than this file says, Lambda of a function that failed, or a function that is no builder.
function foreign(    message, hint) {
    print "status " member("statusCode") "%0Atype " member("errorType") "%0Amessage " member("errorMessage") "%0A"
    message = member("message")
    if (message == "") message = "the builder does not tell its reply, which is in the log: python setup.py update"
    else {
        hint = member("hint")
        if (message ~ /(text|project): unknown field/)
            hint = "the builder is older than this file: python setup.py update"
        message = message (hint == "" ? "" : "%0Ahint: " hint) "%0A(" member("code") ")"
    }
    gsub(/%0A/, "%0Aplain ", message)
    print "plain " message
}
# The first value of a name: a number, or a string on one line, so that it cannot be taken for two.
function member(name,    i, value) {
    for (i = 2; i < NR && !(part[i] == name && part[i + 1] ~ /^ *:/); ) i++
    if (part[i + 1] !~ /^ *: *$/) return match(part[i + 1], /[0-9]+/) ? substr(part[i + 1], RSTART, RLENGTH) : ""
    for (value = part[i += 2]; match(value, /\\+$/) && RLENGTH % 2; )
        value = substr(value, 1, length(value) - 1) "\"" part[++i]
    gsub(/%/, "%25", value); gsub(/\\\\/, "%5C", value); gsub(/(\\[nrtbf]|\\u00[01][0-9a-fA-F])+/, " ", value)
    return value
}
'

# Writes what the reply in $TMP/NAME.reply tells to $TMP/said, one `NAME VALUE` a line (builder/flow/shell.py makes
# them), and sets the SAID_NAMEs.
read_reply() { # NAME
    local name value
    (
        trap '' INT   # Ctrl-C must not make it fail
        printf '%b\n' "$(LC_ALL=C awk "$REPLY_READER" "$TMP/$1.reply" | sed 's/%/\\x/g')" >"$TMP/said"
    )
    SAID_status='' SAID_code='' SAID_state='' SAID_progress='' SAID_message='' SAID_commit='' SAID_differs=''
    SAID_back_to='' SAID_alias='' SAID_bucket='' SAID_prefix='' SAID_type='' SAID_stoppable=''
    while read -r name value; do
        case $name in
            status | code | state | progress | message | commit | differs | back_to | alias | bucket | prefix | type | \
                stoppable)
                printf -v "SAID_$name" %s "$value"
                ;;
            plain) break ;;   # the rest is for people
        esac
    done <"$TMP/said"
}

said() { sed -n "s/^$1 //p" "$TMP/said"; } # NAME

# Prints the reply as it came, but for its text.
bare_reply() {
    local ended=''
    [ "$SAID_state" != ended ] || ended=1
    LC_ALL=C awk -v BARE=1 -v ENDED=$ended "$REPLY_READER" "$TMP/$ANSWER.reply"
}

# Shows what the reply says on stdout or stderr, there in colour if that is a terminal, and in the log.
tell() { # DESCRIPTOR [PREFIX]
    local kind=plain
    if live "$1" && [ -z "${NO_COLOR:-}" ] && [ -n "$(said colour)" ]; then kind=colour; fi
    clear_line
    printf '%s%s\n' "${2:-}" "$(said "$kind" | printable "$kind")" >&"$1"
    record "${2:-}$(said plain)"
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

# Two look-ups of half a second each: only worth it when someone is about to decide on them.
identify() {
    local account_call
    run_aws sts get-caller-identity --query Account --output text >"$TMP/account" 2>"$TMP/account.err" &
    account_call=$!
    if [ -z "$REGION" ]; then
        SHOWN_REGION=$(run_aws configure get region 2>/dev/null | tr -d '\r\n')
        [ -n "$SHOWN_REGION" ] || aws_failed <(printf 'You must specify a region.\n')
    fi
    wait "$account_call" || aws_failed "$TMP/account.err"
    ACCOUNT=$(tr -d '\r\n' <"$TMP/account")
}

describe() {
    local publish="${VERSION:+a new version}" what="${COMPONENTS[*]-}"
    fact "$NAME_KEY" "$FUNCTION"
    fact stage "$STAGE"
    fact stack "$FLAG_stack"
    case $ACTION in
        rollback | preview | verify)
            fact alias "$ALIAS"
            [ "$ACTION" != verify ] || fact verify "${BUILD:-what is deployed}"
            [ "$ACTION" = verify ] || fact 'back to' "${BUILD:-the build before the present one}"
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
            [ -z "$INDEPENDENT" ] || fact independent 'publish what can be built, even if other functions cannot'
            fact again "${FORCE:+every component}${UPGRADE:+${FORCE:+, }the locks}"
            fact publish "$publish"
            [ "$ACTION" = plan ] || fact 'invoke with' "$PAYLOAD"
            fact into "$OUT$TEMPLATE"
            ;;
    esac
    what="$BUILDER${SHOWN_REGION:+ in $SHOWN_REGION}${ACCOUNT:+, account $ACCOUNT}${PROFILE:+, profile $PROFILE}"
    fact builder "$what"
    case $ACTION${SENDING:+ sent} in
        *' sent') describe_sent ;;
        build | plan | package) describe_only_here ;;
    esac
}

describe_sent() {
    local secrets
    secrets=$(some "$TMP/unsent" 5)
    [ -z "$secrets" ] ||
        say "  note: not sent, as such files usually hold secrets: $secrets; commit what belongs to the function"
    [ "$SENT_BYTES" -le 50000000 ] ||
        say '  note: that is much to send; name what the build does not need in .lambdaignore, as in .gitignore'
}

# Prints the first COUNT lines of FILE, and how many more there are.
some() { # FILE COUNT
    awk -v most="$2" 'NR <= most { printf "%s%s", (NR > 1 ? ", " : ""), $0 }
        END { if (NR > most) printf " and %d more", NR - most }' "$1"
}

fact() { [ -z "$2" ] || say "$(printf '  %-11s %s' "$1" "$2")"; } # NAME VALUE
megabytes() { printf '%s.%s MB\n' $(($1 / 1000000)) $(($1 % 1000000 / 100000)); }

# The builder builds what git's server has. Notes what is only on this disk, as far as git here can tell without asking
# the server: ONLY_HERE is empty where there is nothing to say, else `directory` or `git`.
find_only_here() {
    ONLY_HERE='' HEAD_ID='' SERVER='' NEVER_PUSHED='' AHEAD=0 BEHIND=0 EDITED=0
    [ -n "$HERE" ] || return 0
    if [ -z "$GIT_TOP" ]; then
        [ -n "$GIT_TROUBLE" ] || ONLY_HERE=directory
    elif [ "$REF" = "$GIT_REF" ]; then   # else another branch was asked for: no one expects what is here
        ONLY_HERE=git
        find_edited
        find_unpushed
    fi
}

# Sets EDITED to how many files are not committed; they are listed in $TMP/edited.
find_edited() {
    local file only=(.)
    # This script, its log and its settings are not code.
    for file in "$SCRIPT" "$LOG" "$CONFIG_FILE" "$(product)"; do
        file=$(below "$GIT_TOP" "$file") && only+=(":(top,exclude,literal)$file")
    done
    # Nor is anyone to commit keys and environments, which -s does not send either.
    never_taken "$GIT_TOP" >"$TMP/never"
    plain_git -C "$PROJECT" -c core.quotePath=false -c core.excludesFile="$TMP/never" status --porcelain \
        --untracked-files=normal -- "${only[@]}" 2>/dev/null | sed 's/^...//' >"$TMP/edited"
    EDITED=$(($(wc -l <"$TMP/edited")))
}

# Sets SERVER to git's copy of the server's branch and AHEAD and BEHIND to how many commits are only here or only there;
# where there is no such copy, NEVER_PUSHED to what the server may lack.
find_unpushed() {
    local upstream
    if ! HEAD_ID=$(ask_git rev-parse --verify 'HEAD^{commit}'); then
        HEAD_ID='' NEVER_PUSHED="the branch $GIT_REF, which has no commit yet"
    elif [ "$GIT_REF" = "$HEAD_ID" ]; then   # no branch is checked out
        [ -n "$(ask_git for-each-ref --contains "$HEAD_ID" refs/remotes refs/tags)" ] ||
            NEVER_PUSHED="commit ${HEAD_ID:0:12}"
    else
        SERVER=origin/$GIT_REF
        if ! ask_git rev-parse --verify "refs/remotes/$SERVER^{commit}" >/dev/null; then
            # The remote may have another name.
            upstream=$(ask_git rev-parse --verify --symbolic-full-name '@{upstream}') || upstream=''
            SERVER=${upstream#refs/remotes/}
            [ "${SERVER#*/}" = "$GIT_REF" ] || SERVER='' NEVER_PUSHED="the branch $GIT_REF"
        fi
        [ -z "$SERVER" ] ||
            read -r BEHIND AHEAD <<<"$(ask_git rev-list --left-right --count "refs/remotes/$SERVER...HEAD")"
    fi
}

counted() { if [ "$1" = 1 ]; then printf '1 %s' "$2"; else printf '%s %ss' "$1" "$2"; fi; } # NUMBER NOUN

# Before it is built: warns of what is only here, with what to do about it.
describe_only_here() {
    local indent="$NL           " push='git push' list=''
    find_only_here
    [ "$BEHIND" = 0 ] ||
        say "  note: $(counted "$BEHIND" commit) of $SERVER that you do not have here will be part of it (git pull)"
    if [ "$ONLY_HERE" = directory ]; then
        list="${indent}only here: the files in $PROJECT, which is not in a git repository${indent}to send them: -s"
    elif [ -n "$ONLY_HERE" ] && [ "$AHEAD$EDITED$NEVER_PUSHED" != 00 ]; then
        [ -z "$NEVER_PUSHED" ] ||
            list="${indent}never pushed, as far as git here knows: $NEVER_PUSHED" push="git push -u origin $GIT_REF"
        [ "$AHEAD" = 0 ] ||
            list="${indent}not pushed: $(counted "$AHEAD" commit), the last: $(ask_git log -1 --format=%s)"
        [ "$EDITED" = 0 ] || list="$list${indent}not committed: $(counted "$EDITED" file): $(some "$TMP/edited" 3)"
        [ "$GIT_REF" != "$HEAD_ID" ] || push='git push origin HEAD:BRANCH'
        [ "$EDITED" = 0 ] || push="git commit, then $push"
        list="$list$indent$push; or send the files that are here, as they are: -s"
    fi
    [ -z "$list" ] || say "  WARNING: what is built is ${SERVER:-$REPO} as git's server has it, NOT what is here$list"
}

# After it, in one line, by the commit that was really built: that tells better than what git here knew before.
tell_only_here() { # COMMIT
    local what='' ahead
    [ "$ACTION" = build ] && [ -n "$ONLY_HERE" ] || return 0
    [ "$ONLY_HERE" != directory ] || what="the files in $PROJECT"
    if [ -n "$1" ] && [ -n "$HEAD_ID" ] && ahead=$(ask_git rev-list --count "$1..HEAD"); then
        NEVER_PUSHED='' AHEAD=$ahead
    fi
    what=${what:-$NEVER_PUSHED}
    [ "$AHEAD" = 0 ] || what=$(counted "$AHEAD" commit)
    [ "$EDITED" = 0 ] || what="$what${what:+ and }$(counted "$EDITED" file) that you have not committed"
    [ -z "$what" ] || say "WARNING: NOT deployed: $what"
}

# Shows what a rollback would do, and settles on the build that it has shown, whatever is deployed meanwhile.
preview() {
    ACTION=preview TRACKED='' write_events
    ask "$TMP/event"
    ANSWER=call
    if [[ $ACTION$SAID_status != rollback2?? ]]; then
        finish
        exit 0
    fi
    tell 2
    BUILD=$SAID_back_to ALIAS=$SAID_alias
    [ -n "$BUILD" ] || die 4 "$BUILDER does not say what it would return to" "$OLDER"
}

confirm() {
    local answer=''
    printf '%s? [y/N] ' "$ASKS" >&2
    read -r answer || printf '\n' >&2
    case $answer in [yY] | [yY][eE][sS]) ;; *) die 5 'not confirmed, nothing was done' ;; esac
    record 'confirmed'
}

# ---------------------------------------------------------------------------------------------- sending

# What is not sent unless git has it: builder/sources/default_excludes.json, which a test compares.
NEVER_SECRETS='.env .env.* .envrc *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk id_rsa id_dsa id_ecdsa
id_ed25519 .aws .ssh .gnupg .docker .kube .netrc _netrc .pypirc .git-credentials .vault-token *.tfstate *.tfstate.*
*.tfvars *.tfvars.json .env~ *.pem.bak *.pem.old *.pem~ *.key.bak *.key.old *.key~
id_rsa.bak id_rsa.old id_rsa~ id_ed25519.bak id_ed25519.old id_ed25519~'
NEVER_CLUTTER='.git .hg .svn .venv venv __pycache__ *.pyc .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox .nox
.terraform .terraform.lock.hcl .aws-sam .serverless cdk.out .DS_Store Thumbs.db .idea .vscode deploy.sh deploy.log'
NEVER_UNLESS_NODEJS='node_modules .npmrc'

# Prints names one a line, in the syntax of a .gitignore.
rules() { printf '%s\n' "$*" | tr ' ' '\n'; }

# Prints what is not taken from a repository's work tree unless git has it already.
never_taken() { # REPOSITORY
    ignored_everywhere "$1"
    rules "$NEVER_SECRETS" "$NEVER_CLUTTER" "$NEVER_UNLESS_NODEJS"
}

# Prints what the user ignores in every repository, as git does by itself unless another file is named.
ignored_everywhere() { # REPOSITORY
    local file
    file=$(plain_git -C "$1" config --path core.excludesFile) || file=${XDG_CONFIG_HOME:-${HOME:-}/.config}/git/ignore
    ! [ -f "$file" ] || cat "$file"
    printf '\n'
}

# Makes $TMP/sent.tar.gz, and $TMP/unsent with what probably holds secrets; sets SENT_TREE (git's SHA-1 of the content,
# or nothing) and SENT_BYTES.
pack() {
    : >"$TMP/unsent"
    pack_by_git "${GIT_TOP:-$PROJECT}" 2>"$TMP/git.err" ||
        die 2 "git cannot pack ${GIT_TOP:-$PROJECT}: $(last_lines "$TMP/git.err")"
    SENT_BYTES=$(($(wc -c <"$TMP/sent.tar.gz")))
}

last_lines() { sed -e '/^$/d' -e '/^hint: /d' "$1" | tail -n "${2:-3}" | printable; } # FILE [COUNT]

# Prints what --package writes: that is made of what is sent. Nothing if the project is in it.
product() { case $PROJECT/ in "${OUT:-/}"/*) ;; *) printf '%s\n' "${OUT:-$TEMPLATE}" ;; esac; }

# The archive has the whole repository, because requirements may lie beside the project; its content is as a commit of
# these files would have it, so equal content is equal to the builder, however it came.
pack_by_git() { # TOP
    local top=$1 index=$TMP/index file commit='' format
    SCRATCH=$TMP/git
    format=$(ask_git rev-parse --show-object-format) || format=''
    case $format in sha256) format=--object-format=sha256 ;; *) format='' ;; esac
    plain_git init -q --bare --template= ${format:+"$format"} "$SCRATCH" || return 1
    mkdir -p "$SCRATCH/info" "$SCRATCH/objects/info" || return 1
    rules "$NEVER_SECRETS" "$NEVER_CLUTTER" "$NEVER_UNLESS_NODEJS" >"$TMP/ignored" || return 1
    # The first of all attributes: what was taken in goes out, all of it and byte for byte.
    printf '* -export-ignore -export-subst -text -ident -filter -working-tree-encoding\n' >"$SCRATCH/info/attributes"
    take "$top" "$index" || return 1
    drop "$top" "$index" --cached --ignored --exclude-per-directory=.lambdaignore || return 1
    # They may have keys in them, or change with every run.
    for file in "$LOG" "$CONFIG_FILE" "$(product)"; do
        file=$(below "$top" "$file") || continue
        is_tracked "$file" || drop "$top" "$index" -- ":(literal)$file" || return 1
    done
    SENT_TREE=$(apart "$top" "$index" write-tree) || return 1
    # An archive of a commit tells the builder that git has its files; without a repository the builder looks itself.
    [ -z "$GIT_TOP" ] || commit=$(
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_AUTHOR_DATE='315532800 +0000'
        export GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x GIT_COMMITTER_DATE='315532800 +0000'
        apart "$top" "$index" commit-tree -m x "$SENT_TREE"
    ) || return 1
    plain_git --git-dir="$SCRATCH" archive --format=tar.gz --output="$TMP/sent.tar.gz" "${commit:-$SENT_TREE}" ||
        return 1
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
        drop "$top" "$index" -- ':(attr:filter=lfs)'
        # Without it git refuses what lies beside a sparse checkout; older ones do not know it.
        [ "$(plain_git -C "$top" config --bool core.sparseCheckout)" != true ] || options+=(--sparse)
        # Besides what the user ignores everywhere; what a .gitignore wants nevertheless stays wanted.
        never_taken "$top" >"$ignored"
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

# Of what is not in INDEX, and neither clutter nor ignored by anyone else: it was taken for a secret.
note_unsent() { # TOP INDEX
    local options=() below=${1#"${GIT_TOP:-$PROJECT}"}
    ! is_repository "$1" || options=(--exclude-standard)
    rules "$NEVER_CLUTTER" "$NEVER_UNLESS_NODEJS" >"$TMP/clutter"
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

# Takes what `git ls-files` lists out of INDEX.
drop() { # TOP INDEX ARGUMENT...
    apart "$1" "$2" ls-files -z "${@:3}" | apart "$1" "$2" update-index -z --force-remove --stdin
}

repository_file() { # TOP NAME
    local path
    path=$(plain_git -C "$1" rev-parse --git-path "$2") || return 1
    case $path in /* | [A-Za-z]:*) ;; *) path=$1/$path ;; esac
    printf '%s\n' "$path"
}

is_tracked() { # FILE
    [ -n "$GIT_TOP" ] &&
        plain_git --literal-pathspecs -C "$GIT_TOP" ls-files --error-unmatch -- "$1" >/dev/null 2>&1
}

# Prints FILE as seen from DIRECTORY; fails where it is not in it.
below() { # DIRECTORY FILE
    local path
    [ -n "$2" ] && path=$(cd "$(dirname "$2")" 2>/dev/null && pwd -P)/${2##*/} || return 1
    case $path in "$1"/*) printf '%s\n' "${path#"$1"/}" ;; *) return 1 ;; esac
}

# Sets UPLOADED, in JSON, to where the archive is now; where it is small enough it goes with the event.
deliver() {
    local payload=0 key
    UPLOADED=''
    [ -z "$PAYLOAD" ] || payload=$(($(wc -c <"$PAYLOAD")))
    # Lambda takes 6 MiB; what is in an event besides these two is small.
    [ $(((SENT_BYTES + 2) * 4 / 3 + payload)) -gt 6200000 ] || return 0
    printf '{"action": "ping", "text": "shell"}' >"$TMP/ping"
    ask "$TMP/ping"
    [ -n "$SAID_bucket" ] || die 4 "$BUILDER does not say where its store is" "is it set up? python setup.py update"
    key=${SAID_prefix}uploads/${SENT_TREE:-$BUILD_ID}.tar.gz
    quote "$key"
    UPLOADED="{\"bucket\": \"$SAID_bucket\", \"key\": $QUOTED}"
    if [ -n "$SENT_TREE" ] && run_aws s3api head-object --bucket "$SAID_bucket" --key "$key" >/dev/null 2>&1; then
        say "  s3://$SAID_bucket/$key is there already"
        return
    fi
    say "  uploading to s3://$SAID_bucket/$key"
    local hint="the caller needs s3:PutObject on $SAID_bucket/${SAID_prefix}uploads/*"
    copy "$TMP/sent.tar.gz" "s3://$SAID_bucket/$key" "$hint; or name what the build does not need in .lambdaignore"
}

# Copies from or to S3.
copy() { # FROM TO HINT where access is denied
    run_aws s3 cp "$1" "$2" --only-show-errors >"$TMP/copy.err" 2>&1 </dev/null && return
    case $(cat "$TMP/copy.err") in *AccessDenied* | *'(403)'*) die 3 "$(last_lines "$TMP/copy.err")" "$3" ;; esac
    aws_failed "$TMP/copy.err"
}

# ---------------------------------------------------------------------------------------------- the build

# Who asks, for the record. ASCII only: cutting a longer name cannot tear a character apart.
asker() {
    local who
    who=$(ask_git config user.email) || who="${USER:-$(id -un)}@${HOSTNAME:-$(uname -n)}"
    who=$(printf '%s' "$who" | LC_ALL=C tr -cd '\041-\176')
    printf '%s\n' "${who:0:128}"
}

# Adds a field to EVENT; one without a value is left out.
field() { # NAME TEXT
    quote "$2"
    [ -z "$2" ] || EVENT="$EVENT, \"$1\": $QUOTED"
}

# Sets QUOTED to TEXT if it is a number in JSON; else to a string, which the builder refuses.
number() { # TEXT
    quote "$1"
    [[ ! $1 =~ ^(0|[1-9][0-9]*)([.][0-9]+)?$ ]] || QUOTED=$1
}

json_field() { [ -z "$2" ] || EVENT="$EVENT, \"$1\": $2"; } # NAME JSON

# Writes $TMP/event, and $TMP/ask, which asks how far it is.
write_events() {
    local component list='' EVENT='"text": "shell"'
    field action "${ACTION/preview/rollback}"
    field by "$(asker)"
    if [ "$ACTION" != status ]; then
        field "$NAME_KEY" "$FUNCTION"
        field build "$BUILD"
    elif [ -z "$BUILD" ]; then
        field function "$FLAG_f"   # without one, the last builds of all functions
    fi
    field stage "$STAGE"
    [ -n "$SENDING" ] || field "$REPO_KEY" "$REPO"
    json_field source "$UPLOADED"
    field ref "$REF"
    field path "$SUBDIRECTORY"
    case $ACTION in build | plan | package) field build_file "$FLAG_template" ;; esac
    field stack "$FLAG_stack"
    [ -z "$PARAMETERS" ] || json_field parameters "{$PARAMETERS}"
    json_field version "$VERSION"
    json_field upgrade "$UPGRADE"
    json_field force "$FORCE"
    json_field independent "$INDEPENDENT"
    for component in ${COMPONENTS[@]+"${COMPONENTS[@]}"}; do
        quote "$component"
        list="$list${list:+, }$QUOTED"
    done
    json_field components "${list:+[$list]}"
    [ "$ACTION" != preview ] || json_field preview true
    number "$COUNT"
    json_field count "${COUNT:+$QUOTED}"
    if [ -n "$WEIGHT" ]; then
        quote "$ALIAS"
        list=$QUOTED
        number "$WEIGHT"
        json_field alias "{\"name\": $list, \"weight\": $QUOTED}"
    else
        field alias "$ALIAS"
    fi
    field build_id "$TRACKED"
    record "event: {$EVENT}${PAYLOAD:+ and invoke: $PAYLOAD}"
    {
        printf '{%s' "$EVENT"
        if [ -n "$SENDING" ] && [ -z "$UPLOADED" ]; then
            printf ', "archive": "' && base64 <"$TMP/sent.tar.gz" | tr -d '\r\n' && printf '"'
        fi
        if [ "$ACTION" != plan ] && [ -n "$PAYLOAD" ]; then   # a plan tries nothing
            printf ', "invoke": ' && cat "$PAYLOAD"
        fi
        printf '}\n'
    } >"$TMP/event"
    quote "$BUILD_ID"
    printf '{"action": "status", "build_id": %s, "text": "shell"}\n' "$QUOTED" >"$TMP/ask"
    quote "$(asker)"
    EVENT=$QUOTED
    quote "$BUILD_ID"
    printf '{"action": "stop", "build_id": %s, "by": %s, "text": "shell"}\n' "$QUOTED" "$EVENT" >"$TMP/stop"
}

# Starts an invocation in the background: NAME.reply, NAME.meta and NAME.err receive what comes. Its pid is $!.
# fileb:// means the same bytes to both generations of the AWS CLI. A child in the background ignores Ctrl-C.
invoke() { # NAME EVENT_FILE READ_TIMEOUT ATTEMPTS
    : >"$TMP/$1.reply"
    AWS_PAGER='' AWS_MAX_ATTEMPTS=$4 aws lambda invoke --function-name "$BUILDER" --payload "fileb://$2" \
        --cli-read-timeout "$3" --query '[StatusCode,FunctionError]' --output text \
        ${AWS_OPTIONS[@]+"${AWS_OPTIONS[@]}"} "$TMP/$1.reply" >"$TMP/$1.meta" 2>"$TMP/$1.err" </dev/null &
}

# Asks the builder something that it knows at once.
ask() { # EVENT_FILE
    invoke call "$1" 60 3
    wait $! || aws_failed "$TMP/call.err"
    read_reply call
    went_well call || builder_broke
}

nap() {
    sleep 0.1 2>/dev/null
    case $? in
        0) ;;
        130) INTERRUPTED=true ;;   # Ctrl-C ends it as well
        *) sleep 1 ;;              # a sleep that knows whole seconds only
    esac
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

# Waits for the end of the build; sets ANSWER to the name of the file that has its reply. The invocation brings it in
# the usual case; what `status` says is shown meanwhile, and takes its place when the connection breaks or the answer
# gets lost.
# A Ctrl-C that comes while bash waits for a `$(...)` whose command ends by itself is lost (seen with bash 5.2, where it
# should have run the trap): nothing that is repeated in here uses one.
follow() {
    local started=$SECONDS limited_from=$SECONDS stoppable='' ticks=0 next_poll=10 grace=20
    SHOWN='' PROGRESS='waiting for the builder' FAILED_POLLS=0 UNKNOWN=0 INTERRUPTED='' LOST='' ANSWER=''
    trap 'INTERRUPTED=true' INT
    invoke call "$TMP/event" "$READ_TIMEOUT" 1
    CALL=$!
    # With the reply from `status` the invocation is about to end as well, unless its connection died silently.
    while [ -z "$ANSWER" ] || { [ -n "$CALL" ] && [ $((grace -= 1)) -gt 0 ]; }; do
        if [ -n "$CALL" ] && ! kill -0 "$CALL" 2>/dev/null; then
            if reap "$CALL"; then take_reply; else lose_call; fi
            CALL=''
        elif [ -n "$POLL" ] && ! kill -0 "$POLL" 2>/dev/null; then
            take_status
            POLL='' next_poll=$((ticks + 10))
        fi
        [ -z "$INTERRUPTED" ] || ask_to_follow
        if [ -z "$CALL$ANSWER" ]; then give_up_if_lost; fi
        if [ $((SECONDS - limited_from)) -ge "$FOLLOW_LIMIT" ]; then
            die 3 "build $BUILD_ID did not end within $FOLLOW_LIMIT s" \
                "look for it in the log group /aws/lambda/$BUILDER"
        fi
        if [ -n "$TRACKED" ] && [ -z "$POLL$ANSWER" ] && [ $ticks -ge $next_poll ]; then
            invoke poll "$TMP/ask" 30 2
            POLL=$!
        fi
        [ $ticks -lt 5 ] || draw "[$((SECONDS - started)) s] $PROGRESS"
        if [ -z "$ANSWER" ] || [ -n "$CALL" ]; then nap; fi
        ticks=$((ticks + 1))
    done
    trap - INT
    clear_line
}

# The invocation has ended with an answer: the reply, or the state of a build that goes on.
take_reply() {
    read_reply call
    went_well call || builder_broke
    [ -n "$SAID_status" ] || die 4 \
        "$BUILDER gave an answer that is not a builder's: $(head -c 300 "$TMP/call.reply" | printable)" \
        "is $BUILDER really the name of the builder? -B names another"
    take_state call || ANSWER=call
}

# A question for the state of the build has ended.
take_status() {
    SAID_code=''
    if reap "$POLL" && went_well poll && read_reply poll && take_state poll; then
        FAILED_POLLS=0 UNKNOWN=0
    elif [ "$SAID_code" = unknown_build ]; then
        UNKNOWN=$((UNKNOWN + 1))
    else
        FAILED_POLLS=$((FAILED_POLLS + 1))
    fi
}

# Takes the state of the build that an answer tells: how far it is, or its end. Fails where it tells none.
take_state() { # NAME
    case $SAID_state in
        running)
            PROGRESS=$SAID_progress stoppable=$SAID_stoppable
            [ -z "$stoppable" ] || limited_from=$SECONDS   # the limit is that of one invocation
            if [ "$PROGRESS" != "$SHOWN" ] && [ -n "$PROGRESS" ]; then
                SHOWN=$PROGRESS
                if live; then record "  $PROGRESS"; else say "  $PROGRESS"; fi
            fi
            ;;
        ended) ANSWER=$1 ;;
        lost)
            die 4 "${SAID_message:-the builder stopped before the build ended}" \
                "its log group has more: /aws/lambda/$BUILDER"
            ;;
        *) return 1 ;;
    esac
}

# The invocation has ended without an answer: the build goes on without us, or it is all over.
lose_call() {
    [ -z "$ANSWER" ] || return 0
    local text
    text=$(cat "$TMP/call.err")
    case $text in
        *'(ServiceException)'* | *'(InternalFailure)'* | *'(ServiceUnavailable'* | *'(50'[0-9]')'*) ;;
        *'An error occurred ('* | *'Could not connect'* | *'Connect timeout'* | *[Cc]redentials* | \
            *'could not be found'* | *'specify a region'* | *'Invalid endpoint'* | *'SSL validation'* | *[Tt]'oken'* | \
            *'usage: aws'* | *'Unknown options'*)
            aws_failed "$TMP/call.err"
            ;;
    esac
    [ -n "$TRACKED" ] || aws_failed "$TMP/call.err"
    LOST=$(last_lines "$TMP/call.err" 1)
    say "the connection to the builder broke off; build $BUILD_ID goes on and is followed"
    record "the AWS CLI said: $text"
}

# Whether the invocation ended without an error of the function.
went_well() { # NAME
    local meta
    IFS= read -r -d '' meta <"$TMP/$1.meta"
    case $meta in *None*) return 0 ;; *) return 1 ;; esac
}

# Only `status` is left to rely on: its silence must not last for ever.
give_up_if_lost() {
    [ "$FAILED_POLLS" -lt 5 ] || die 3 "the builder cannot be asked any more: ${LOST:-$(tail -n 1 "$TMP/poll.err")}" \
        "later: deploy.sh --status $BUILD_ID"
    [ "$UNKNOWN" -lt 15 ] ||
        die 3 "the builder knows nothing of build $BUILD_ID, so it never began: $LOST" "run the command again"
}

ask_to_follow() {
    local answer=n
    INTERRUPTED=''
    trap - INT
    [ -n "$TRACKED" ] || leave 130
    say "interrupted; build $BUILD_ID goes on in the builder"
    if [ -t 0 ]; then
        printf 'Keep following it? [Y/n%s] ' "${stoppable:+, stop}" >&2
        read -r answer || answer=n
    fi
    [[ -z $stoppable || $answer != [sS]* ]] || stop_build
    if [[ $answer = [nN]* ]]; then
        say "to see its end: deploy.sh --status $BUILD_ID"
        leave 130
    fi
    trap 'INTERRUPTED=true' INT
}

# Stops a build of many functions, unless it publishes by now.
stop_build() {
    ask "$TMP/stop"
    if [ "$SAID_code" = build_stopped ]; then
        say "build $BUILD_ID is stopped, and nothing was published; what was made is kept for the next deploy"
        leave 130
    fi
    say "build $BUILD_ID cannot be stopped any more, and goes on"
}

# ---------------------------------------------------------------------------------------------- failures

# The builder raised: that is a fault of the builder, its limits or its setup, never of the project.
builder_broke() {
    local hint="this is a fault of the builder; its log group has more: /aws/lambda/$BUILDER"
    local more='in [builder] of config.ini, then python setup.py update'
    case $SAID_type$SAID_message in
        *'timed out'*) hint="give the builder more time: timeout $more" ;;
        *OutOfMemory* | *'signal: killed'*) hint="give the builder more memory: memory $more" ;;
        *ImportModule* | *Runtime.*) hint="is $BUILDER set up? python setup.py status" ;;
    esac
    record "reply: $(cat "$TMP/call.reply")"
    SAID_message=${SAID_message:-$(head -c 300 "$TMP/call.reply" | printable)}
    die 4 "the builder broke: ${SAID_type:+$SAID_type: }$SAID_message" "$hint"
}

aws_failed() { # FILE with what the AWS CLI said
    local text hint='' code=3
    text=$(last_lines "$1")
    case $text in
        *ResourceNotFoundException*)
            hint="there is no function $BUILDER in this account and region: -B, -r, -p; or python setup.py init"
            ;;
        *InvalidRequestContent*)
            code=2 text="payload $PAYLOAD: is not JSON in UTF-8. $text"
            hint="python3 -m json.tool <'$PAYLOAD' says where"
            ;;
        *AccessDenied*) hint="the caller needs lambda:InvokeFunction on $BUILDER" ;;
        *Expired* | *expired* | *'SSO'*) hint='sign in again' ;;
        *'locate credentials'* | *'artial credentials'*) hint='aws configure, or name a profile: -p' ;;
        *'specify a region'*) hint='name a region: -r, AWS_REGION or aws_region in config.ini' ;;
        *TooManyRequests*) hint='the builder has reached its concurrency limit: try again' ;;
    esac
    die $code "${text:-the AWS CLI failed without a message}" "$hint"
}

finish() {
    local times
    read_reply "$ANSWER"
    record "reply: $(bare_reply)"
    if [[ $SAID_status != 2?? ]]; then
        tell 2 'deploy.sh: '
        [ "$SAID_code" != invalid_event ] || exit 2   # as with what is refused here
        exit 1
    fi
    [ "$ACTION" != package ] || collect
    tell 1
    [ -z "$BROUGHT" ] || emit 1 "$BROUGHT"
    times=$(said times)
    [ -z "$TIMES" ] || [ -z "$times" ] || emit 1 "$times$NL$(printf '    %-16s %7.2f s' 'from here' "${WALL:-0}")"
    tell_only_here "$SAID_commit"
    [ -z "$SAID_differs" ] || exit 1
}

# ---------------------------------------------------------------------------------------------- what was packaged

# Brings what the reply names to OUT, for everyone to read: Lambda runs as another user than the one who unpacks.
collect() {
    local place name hash bucket key count names='' files='' kept='' before=''
    local file='(function|layers/[-A-Za-z0-9_]+)[.]zip|template[.](ya?ml|json)'
    umask 022
    # What is there now, by its own account: a whole string of the first object, and nothing outside of OUT.
    ! [ -f "$OUT/build.json" ] || before=$(LC_ALL=C awk 'BEGIN { RS = "}" } { print; exit }' "$OUT/build.json" |
        tr '"' '\n' | LC_ALL=C grep -Ex "([-A-Za-z0-9_]+/)?$file")
    said zip >"$TMP/zips"
    [ -s "$TMP/zips" ] || die 4 "$BUILDER does not say where it put what was built" "$OLDER"
    while read -r place name hash bucket key count <&3; do
        case $place in */function.zip | */layers/*) name=${place%%/*}/$name ;; esac   # one of several functions
        if [ -n "$TEMPLATE" ]; then
            [ "$name" = template ] || continue
            bring "$bucket" "$key" "$hash" "$TEMPLATE"
            BROUGHT="  wrote         $TEMPLATE"
            return
        fi
        names="$names${names:+, }$name"
        if [ "$UNPACK" = "$name" ]; then
            bring "$bucket" "$key" "$hash" "$TMP/component.zip"
            unpack "$TMP/component.zip" >"$TMP/unpack.err" 2>&1 ||
                die 3 "cannot unpack to $OUT: $(last_lines "$TMP/unpack.err")"
            BROUGHT="  unpacked      $name into $OUT, $count"
            return
        fi
        [ -z "$UNPACK" ] || continue
        mkdir -p "$(dirname "$OUT/$place")" || die 2 "$OUT cannot be written to"
        bring "$bucket" "$key" "$hash" "$OUT/$place"
        kept="$kept $place"
        files="$files${files:+, }\"$name\": \"$place\""
    done 3<"$TMP/zips"
    [ -z "$TEMPLATE" ] || die 1 '--package-template: the project has a build file, and no template' '--package DIR'
    [ -z "$UNPACK" ] || die 1 "--unpack: the build file has no component $UNPACK" "it has $names"
    for place in $before; do
        case "$kept " in *" $place "*) continue ;; esac
        rm -f "$OUT/$place"
        case $place in */*) (cd "$OUT" && rmdir -p "${place%/*}") 2>/dev/null ;; esac   # what is empty of it
    done
    { printf '{"files": {%s}, ' "$files" && bare_reply | tail -c +2; } >"$OUT/build.json" ||
        die 2 "$OUT cannot be written to"
    BROUGHT="  brought to    $OUT:$kept"
}

# Downloads an object, unless FILE is that already; FILE appears whole or not at all.
bring() { # BUCKET KEY SHA256 FILE
    if [ -f "$4" ] && [ "$(sha256 "$4")" = "$3" ]; then return; fi
    PART=$4.part
    copy "s3://$1/$2" "$PART" "the caller needs s3:GetObject on $1/${2%/*}/*"
    case $(sha256 "$PART") in
        '' | "$3") ;;
        *) die 3 "s3://$1/$2 has other content than its name says" 'run the command again' ;;
    esac
    touch "$PART"   # the AWS CLI gives it the object's age, which make would take for older than what it is made of
    mv -f "$PART" "$4" || die 2 "$4 cannot be written"
    PART=''
}

# Prints a file's SHA-256 in hexadecimal, or nothing where no tool can tell.
sha256() { # FILE
    { sha256sum <"$1" || shasum -a 256 <"$1" || openssl dgst -sha256 -r <"$1"; } 2>/dev/null | awk '{ print $1 }'
}

# Both keep what is executable so.
unpack() { # FILE
    if command -v unzip >/dev/null; then
        unzip -q -o "$1" -d "$OUT"
        return
    fi
    python3 -c '
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    for entry in archive.infolist():
        path = archive.extract(entry, sys.argv[2])
        if entry.external_attr >> 16 & 0o100:
            os.chmod(path, 0o755)
' "$1" "$OUT"
}

clean_up() {
    local child
    clear_line
    for child in $CALL $POLL; do { kill "$child" && wait "$child"; } 2>/dev/null; done
    [ -z "$PART" ] || rm -f "$PART"
    [ -z "$TMP" ] || rm -rf "$TMP"
}

main() {
    find_project "${BASH_SOURCE[0]}"
    parse_flags "$@"
    need_tools
    TMP=$(mktemp -d "${TMPDIR:-/tmp}/lambdasmith.XXXXXX") || die 3 'no temporary directory can be made'
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 143' TERM
    read_config
    open_log
    record "deploy.sh in $PROJECT"
    read_git
    settle
    refuse_wrong_use
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
