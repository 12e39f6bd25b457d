#!/bin/sh
# Tells the node's flopmeter agent that a job has ended. Runs as root from slurm.conf:
#   Epilog=/opt/flopmeter/slurm/flopmeter-epilog.sh
# Removes the job from the file of every device, whatever devices it had. It never drains a node:
# whatever goes wrong, it ends with 0.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
. "$(dirname "$0")/flopmeter-devices.sh"

[ -n "$SLURM_JOB_ID" ] && [ -d "$folder" ] || exit 0
umask 022
{
    flock -w 5 9 || exit 0
    for path in "$folder"/*; do
        grep -q "^slurm job=$SLURM_JOB_ID " "$path" 2>/dev/null || continue
        others "${path##*/}" | replace "${path##*/}"
    done
} 9>"$lock"
exit 0
