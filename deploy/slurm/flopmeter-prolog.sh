#!/bin/sh
# Tells the node's flopmeter agent which job has which GPU. Runs as root from slurm.conf:
#   Prolog=/opt/flopmeter/slurm/flopmeter-prolog.sh
#   PrologFlags=Alloc
# One file a device, one line a job: docs/allocations.md has the form. No user name, account, job
# name or command is written. It never fails a job: whatever goes wrong, it ends with 0.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
. "$(dirname "$0")/flopmeter-devices.sh"

[ -n "$SLURM_JOB_ID" ] || exit 0
umask 022
mkdir -p "$folder" 2>/dev/null || exit 0

line="slurm job=$SLURM_JOB_ID uid=$SLURM_JOB_UID"
[ -n "$SLURM_CLUSTER_NAME" ] && line="$line cluster=$SLURM_CLUSTER_NAME"
restart=${SLURM_JOB_RESTART_COUNT:-$SLURM_RESTART_COUNT}
[ -n "$restart" ] && line="$line restart=$restart"
[ -n "$SLURM_JOB_SLUID" ] && line="$line sluid=$SLURM_JOB_SLUID"
line="$line start=${SLURM_JOB_START_TIME:-$(date +%s)}"

{
    flock -w 5 9 || exit 0
    for device in $(devices); do
        { others "$device"; echo "$line"; } | replace "$device"
    done
} 9>"$lock"
exit 0
