#!/usr/bin/env bash
# usage: scripts/lint.sh VENV
#
# ruff, mypy --strict, shellcheck and terraform over the whole repository. Every tool runs, then the result is told.
set -uo pipefail

venv=${1:?usage: scripts/lint.sh VENV}
failed=()

check() { # NAME COMMAND…
    local name=$1
    shift
    printf 'lint: %s\n' "$name" >&2
    "$@" || failed+=("$name")
}

shell_files() {
    find . \( -name .git -o -name .venv -o -name .cache -o -path "$venv" -o -name out \) -prune -o -type f -print | while IFS= read -r file; do
        # Only the first line decides, so that scripts without a suffix are found as well.
        if head -c 64 "$file" | head -n 1 | LC_ALL=C grep -qaE '^#!.*[/ ](ba)?sh( |$)'; then
            printf '%s\n' "$file"
        fi
    done
}

check "ruff check" "$venv/bin/ruff" check --quiet .
check "ruff format" "$venv/bin/ruff" format --check --quiet .
check "mypy" "$venv/bin/mypy" --no-error-summary
if command -v shellcheck >/dev/null; then
    scripts=()
    while IFS= read -r file; do scripts+=("$file"); done < <(shell_files)
    check "shellcheck" shellcheck "${scripts[@]}"
else
    printf 'lint: shellcheck is not installed, shell scripts were not checked (apt-get install shellcheck)\n' >&2
fi

validate() { # EXAMPLE, with the modules that it calls; what terraform leaves behind it leaves in a copy
    local work
    work=$(mktemp -d) || return
    mkdir "$work/examples" && cp -R integrations "$work" && cp -R examples/terraform "$work/examples" &&
        mkdir -p "$work/builder/sources" && cp builder/sources/default_excludes.json "$work/builder/sources" && (
        cd "$work/$1" &&
            terraform init -backend=false -input=false >/dev/null 2>"$work/init" || exit 3
        terraform validate >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
    )
    local status=$?
    rm -rf "$work"
    return $status
}

if command -v terraform >/dev/null; then
    check "terraform fmt" terraform fmt -check -recursive integrations/terraform examples/terraform
    printf 'lint: terraform validate\n' >&2
    for example in examples/terraform/*/; do
        validate "$example"
        case $? in
            0) ;;
            3) printf 'lint: terraform finds no AWS provider, modules were not validated\n' >&2; break ;;
            *) failed+=("terraform validate $example") ;;
        esac
    done
else
    printf 'lint: terraform is not installed, its modules were not checked (no package registry has it)\n' >&2
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
