#!/usr/bin/env bash
# Audits, writes the files for CI systems, the job summary and the outputs, and fails the step as the input fail-on says.
#
# Every input arrives in a variable AUDIT_… and is used quoted, as the value of an option (--claim=…) or after `--`, so that none of them is
# ever read as an option or as code. The key stays in the variable in which the caller put it (TRUENAME_API_KEY).
set -euo pipefail

# -P: the caller's repository, which is the current folder, may hold a folder named `api`; it must not be imported.
truename() { env -u PYTHONHOME PYTHONPATH="$GITHUB_ACTION_PATH" PYTHONUTF8=1 "$AUDIT_PYTHON" -P "$@"; }

for value in "$AUDIT_OUT" "$AUDIT_FAIL_ON"; do
  case $value in
    '' | *[[:cntrl:]]*)
      echo "truename: the input out or fail-on is empty or holds a control character; name a folder, and never to fail on nothing" >&2
      exit 2
      ;;
  esac
done
IFS=, read -ra failing <<<"${AUDIT_FAIL_ON// /}"
for word in "${failing[@]}"; do
  case $word in
    inconsistent | inconclusive | could-not-run | never) ;;
    *)
      echo "truename: fail-on knows inconsistent, inconclusive, could-not-run and never" >&2
      exit 2
      ;;
  esac
done

arguments=(audit --format=markdown "--suite=$AUDIT_SUITE" "--alpha=$AUDIT_ALPHA" "--lang=$AUDIT_LANG" "--out=$AUDIT_OUT")
[ -z "$AUDIT_SEED" ] || arguments+=("--seed=$AUDIT_SEED")
[ -z "$AUDIT_MAX_REQUESTS" ] || arguments+=("--max-requests=$AUDIT_MAX_REQUESTS")
[ -z "$AUDIT_MAX_TOKENS" ] || arguments+=("--max-tokens=$AUDIT_MAX_TOKENS")
[ -z "$AUDIT_TARGETS" ] || arguments+=("--targets=$AUDIT_TARGETS")
[ -z "$AUDIT_CLAIM" ] || arguments+=("--claim=$AUDIT_CLAIM")
[ -z "$AUDIT_MODEL" ] || arguments+=("--model=$AUDIT_MODEL")
[ -z "$AUDIT_FAMILY" ] || arguments+=("--family=$AUDIT_FAMILY")
[ -n "$AUDIT_TARGETS" ] || arguments+=("--wire=$AUDIT_WIRE")
[ -z "$AUDIT_BASE_URL" ] || arguments+=(-- "$AUDIT_BASE_URL")

# An earlier run's summaries may lie there; this one's must not be taken for them where it fails.
rm -f -- "$AUDIT_OUT"/batch.{json,html,dsse.json} "$AUDIT_OUT/truename.sarif" "$AUDIT_OUT/truename.junit.xml"

# What an endpoint wrote is in the log too: until the random word comes back, the runner takes no commands from it.
word=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
summary=$(mktemp) code=0
echo "::stop-commands::$word"
truename -m api "${arguments[@]}" >"$summary" || code=$?
echo "::$word::"
cat "$summary" >>"$GITHUB_STEP_SUMMARY"
rm -f "$summary"

case $code in
  0 | 1 | 3 | 4) ;;
  *) # wrong usage, or the process was ended: there is nothing to write about
    printf 'exit-code=%s\n' "$code" >>"$GITHUB_OUTPUT"
    exit "$code"
    ;;
esac
printf 'exit-code=%s\n' "$code" >>"$GITHUB_OUTPUT"
truename "$GITHUB_ACTION_PATH/action/files.py" "$code" >>"$GITHUB_OUTPUT"

case $code in
  0) exit 0 ;;
  1) verdict=inconsistent ;;
  3) verdict=inconclusive ;;
  *) verdict=could-not-run ;;
esac
case ,${AUDIT_FAIL_ON// /}, in
  *,"$verdict",*) exit "$code" ;;
esac
echo "::warning title=Truename::$verdict: this step does not fail on it (fail-on), which does not make it a pass"
