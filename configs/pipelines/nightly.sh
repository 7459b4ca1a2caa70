#!/bin/sh
# A nightly run for cron: fetches what is new, and says something only where somebody has to do something.
#
#   15 2 * * *  /path/to/nightly.sh /path/to/job.yaml
#
# No lock file: the mosaic has a lock of its own, which ends with its process. Whatever stopped the last run, the same
# command continues it. cron mails what is printed.
set -u
job=${1:?name the job file}
report=${job%.yaml}.report.json

downloader run "$job" --quiet --yes --report "$report" 2> "$report.log"
status=$?
case $status in
  0) ;; # all is there
  3) echo "$job: some tiles failed; the next run tries just those, $report lists them" ;;
  4) exit 0 ;; # quota, outage, full disk: all is saved, the next run goes on
  5) grep -q "another run" "$report.log" && exit 0 ;; # last night's is still at it
  130 | 143) exit 0 ;; # the machine was shut down
esac
[ $status -eq 0 ] || cat "$report.log"
exit $status
