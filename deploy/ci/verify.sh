#!/usr/bin/env bash
# Judges a scenario on every change: runs it, annotates what it finds, keeps the report, and compares it with the last good runs.
#
#   deploy/ci/verify.sh [SCENARIO] [OPTION]...     the scenario is "ci" by default; options go to `sluice verify`
#
# SLUICE      the program; "sluice" by default
# KEPT        folder that the CI server keeps between runs; "ci-runs" by default. KEPT/last has the report of this run,
#             KEPT/good those of the last five good ones, KEPT/not-compared-TIME those that can't be compared any more
#
# Exit codes: 0 good; 1 an objective is missed, or something is worse than before; 3 the run could not be made or judged,
# also not when repeated; 4 usage. What is undecided is a warning. GitHub shows the annotations and the summary; elsewhere they are text.
set -uo pipefail

sluice="${SLUICE:-sluice}"
kept="${KEPT:-ci-runs}"
keep=5
scenario="${1:-ci}"
shift || true

annotate() { # LEVEL TEXT
  if [ -n "${GITHUB_ACTIONS:-}" ]; then
    local text="${2//'%'/%25}"
    echo "::$1 title=sluice $scenario::${text//$'\n'/%0A}"
  else
    echo "$1: $2"
  fi
}

summarize() { # FILE
  if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -s "$1" ]; then
    cat "$1" >>"$GITHUB_STEP_SUMMARY"
  fi
}

mkdir -p "$kept/good" || exit 4

verify() { # "$@": options; sets `code` and `run`
  local runs
  runs=$(mktemp -d) || exit 4
  SLUICE_VERIFY__RUNS="$runs" "$sluice" verify "$scenario" "$@"
  code=$?
  rm -rf "$kept/last"
  run=""
  if compgen -G "$runs/*" >/dev/null; then
    mv "$runs"/* "$kept/last"
    [ -f "$kept/last/report.json" ] && run="$kept/last"
  fi
  rm -rf "$runs"
}

verify "$@"
if [ "$code" -eq 3 ]; then
  annotate warning "the run could not be made or judged; it is repeated once"
  verify "$@"
fi
[ -n "$run" ] && summarize "$run/summary.md"
case "$code" in
  0) ;;
  1) annotate error "an objective is missed, or an account is off: see $kept/last/report.html" && exit 1 ;;
  2) annotate warning "not every objective is decided: see $kept/last/report.html" && exit 0 ;;
  *) annotate error "sluice verify ended with exit code $code" && exit "$code" ;;
esac

if compgen -G "$kept/good/*/report.json" >/dev/null; then
  text=$("$sluice" compare "$kept/good" "$run" --format markdown --output "$run/comparison.md" 2>&1)
  compared=$?
  summarize "$run/comparison.md"
  case "$compared" in
    0) ;;
    1) annotate error "worse than the last good runs: $(sed -n 3p "$run/comparison.md")" && exit 1 ;;
    2) annotate warning "not certainly as fast as the last good runs: $(sed -n 3p "$run/comparison.md")" ;;
    # Reports of an older version, or of a scenario that was renamed. They are kept aside: a full disk is refused as well.
    *)
      aside="$kept/not-compared-$(date -u +%Y-%m-%dT%H-%M-%SZ)"
      annotate warning "the last good runs can't be compared, so this run replaces them; they are in $aside: $text"
      mv "$kept/good" "$aside" || exit 4
      ;;
  esac
fi

mkdir -p "$kept/good"
cp -r "$run" "$kept/good/$(date -u +%Y-%m-%dT%H-%M-%SZ)-$$" || exit 4
# The oldest first; their names begin with the time.
find "$kept/good" -mindepth 1 -maxdepth 1 -type d | sort | head -n "-$keep" | xargs -r rm -rf
echo "good: $kept/last/report.html"
