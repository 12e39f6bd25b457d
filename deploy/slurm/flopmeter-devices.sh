# Read by the prolog and the epilog beside it; not run by itself.
#
# Slurm names GPUs by their minor numbers (SLURM_JOB_GPUS) or by UUIDs (CUDA_VISIBLE_DEVICES from
# 25.11 on, and of MIG instances). The kernel driver says which minor number has which UUID, without
# opening a device as nvidia-smi would. A job without GPUs has no file.
#
# /run/flopmeter may belong to the agent's user: so root neither follows a link of its to write, nor
# copies anything from it but lines of this form.

run=${FLOPMETER_RUN:-/run}
driver=${FLOPMETER_DRIVER:-/proc/driver/nvidia/gpus}
folder=$run/flopmeter/alloc
lock=$run/flopmeter-slurm.lock

# The devices of the job, one UUID a line.
devices() {
    uuids=$(echo "$SLURM_JOB_GPUS,$CUDA_VISIBLE_DEVICES" | tr ',' '\n' |
        grep -E '^(GPU|MIG)-[A-Za-z0-9._-]+$' | sort -u)
    if [ -n "$uuids" ]; then
        echo "$uuids"
    else
        for number in $(echo "$SLURM_JOB_GPUS" | tr ',' ' '); do
            uuid_of "$number"
        done
    fi
}

# The UUID of the GPU with a minor number.
uuid_of() {
    for file in "$driver"/*/information; do
        [ -r "$file" ] || continue
        awk -F': *' -v minor="$1" '
            $1 == "GPU UUID" { gsub(/[ \t]/, "", $2); uuid = $2 }
            $1 == "Device Minor" { gsub(/[ \t]/, "", $2); if ($2 == minor) found = 1 }
            END { if (found && uuid ~ /^GPU-/) print uuid }' "$file"
    done
}

# What the file of a device says of other jobs.
others() {
    [ -f "$folder/$1" ] && grep -E '^slurm job=[0-9]+ ' "$folder/$1" |
        grep -v "^slurm job=$SLURM_JOB_ID "
    return 0
}

# Give a device's file the lines of standard input, or remove it where there are none: whoever reads
# sees the old file or the new one, never a part.
replace() {
    new=$(mktemp "$run/.flopmeter.XXXXXX") || return
    cat >"$new"
    chmod 644 "$new"
    if [ -s "$new" ] && mv -fT "$new" "$folder/$1"; then
        return
    fi
    [ -s "$new" ] || rm -f "$folder/$1"
    rm -f "$new"
}
