/* A scripted stand-in for libnvidia-ml.so.1, loaded by the real Python binding.
 *
 * Owns: the subset of NVML that flopmeter calls, answered from a text file of `key value` lines that
 * a test rewrites (by rename) while the process runs. May touch: that file only.
 * The file is named by fake_nvml_script(), else by the variable FAKE_NVML_SCRIPT; without either
 * the driver is "not loaded". Keys are described in __init__.py beside this file.
 *
 * It is stricter than the real library: a handle or a sample from before a shutdown is refused, the list
 * of devices is fixed at initialisation, and a GPM call with one sample twice is an error.
 * Compile with -DWITHOUT_GPM for a driver from before GPM existed.
 */
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9 };
enum { LINES = 4096, DEVICES = 64, METRICS = 512, CALLS = 64 };

static struct { char key[96], text[96]; } line[LINES];
static int lines;
static char script[4096];
static struct stat seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int references, generation, present[DEVICES], present_count;
static struct { const char *name; long count; } calls[CALLS];

/* --- the script ------------------------------------------------------------------------------ */

static void refresh(void) {
    struct stat now;
    const char *path = script[0] ? script : getenv("FAKE_NVML_SCRIPT");
    if (!path || stat(path, &now) != 0) { lines = 0; memset(&seen, 0, sizeof seen); return; }
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec &&
        now.st_mtim.tv_sec == seen.st_mtim.tv_sec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    for (lines = 0; lines < LINES && fscanf(file, " %95s %95[^\n]", line[lines].key, line[lines].text) == 2;) lines++;
    fclose(file);
    seen = now;
}

/* The text of a key made from a format, or NULL; call it with the lock held. */
static const char *text(const char *format, ...) {
    char key[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(key, sizeof key, format, arguments);
    va_end(arguments);
    for (int i = 0; i < lines; i++)
        if (strcmp(line[i].key, key) == 0) return line[i].text;
    return NULL;
}

static int slot_of(void *handle) { return (int)((uintptr_t)handle & 0xff) - 1; }

static __thread struct timespec began;

/* Keep the processor until a call has taken as long as it is to take; what it did itself counts. */
static void burn(void) {
    struct timespec now;
    const char *least = text("call_us");
    if (!least) return;
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - began.tv_sec) * 1000000 + (now.tv_nsec - began.tv_nsec) / 1000 < atol(least));
}

/* Every call begins here: count it, sleep as scripted, return the scripted error; locks unless it fails. */
static int enter(const char *name, int slot) {
    clock_gettime(CLOCK_MONOTONIC, &began);
    pthread_mutex_lock(&lock);
    refresh();
    int i = 0;
    while (i < CALLS - 1 && calls[i].name && strcmp(calls[i].name, name) != 0) i++;
    calls[i].name = name;
    calls[i].count++;
    const char *pause = slot < 0 ? text("sleep_ms.%s", name) : text("gpu%d.sleep_ms.%s", slot, name);
    if (pause) {
        long ms = atol(pause);
        struct timespec length = {ms / 1000, ms % 1000 * 1000000};
        pthread_mutex_unlock(&lock); /* a stuck call must not hold up the others */
        nanosleep(&length, NULL);
        pthread_mutex_lock(&lock);
        refresh();
    }
    const char *error = slot < 0 ? text("error.%s", name) : text("gpu%d.error.%s", slot, name);
    if (!error && slot >= 0) error = text("gpu%d.error.*", slot);
    int code = error ? atoi(error) : OK;
    if (code) { burn(); pthread_mutex_unlock(&lock); }
    return code;
}

static int leave(int code) { burn(); pthread_mutex_unlock(&lock); return code; }

static int enter_device(const char *name, void *handle) {
    if (references == 0) return UNINITIALIZED;
    if ((int)((uintptr_t)handle >> 8) != generation) return INVALID;
    return enter(name, slot_of(handle));
}

/* A device's number under a key: UNSUPPORTED where the script has none. */
static int number(const char *name, void *handle, const char *key, double *result) {
    int code = enter_device(name, handle);
    if (code) return code;
    const char *found = text("gpu%d.%s", slot_of(handle), key);
    if (found) *result = strtod(found, NULL);
    return leave(found ? OK : UNSUPPORTED);
}

static int unsigned_number(const char *name, void *handle, const char *key, unsigned *result) {
    double value = 0;
    int code = number(name, handle, key, &value);
    if (!code) *result = (unsigned)value;
    return code;
}

static int string(const char *name, void *handle, const char *key, char *buffer, unsigned length) {
    int code = enter_device(name, handle);
    if (code) return code;
    const char *found = text("gpu%d.%s", slot_of(handle), key);
    if (!found) return leave(UNSUPPORTED);
    if (strlen(found) >= length) return leave(TOO_SMALL);
    strcpy(buffer, found);
    return leave(OK);
}

/* A MIG handle is its device's with the place of the instance, from 1, in the top 16 bits. */
static int mig_place(void *handle) { return (int)((uintptr_t)handle >> 48) - 1; }

/* gpuN.mig.<place> is "GPU instance, compute instance or -, SMs, its slices, those computing, MiB, UUID". */
struct mig { unsigned instance, sms, slices, computing; char compute[8]; double mib; char uuid[64]; };
static int mig_at(int slot, int place, struct mig *mig) {
    const char *found = text("gpu%d.mig.%d", slot, place);
    return found && sscanf(found, "%u %7s %u %u %u %lf %63s", &mig->instance, mig->compute, &mig->sms, &mig->slices,
                           &mig->computing, &mig->mib, mig->uuid) == 7;
}

/* --- what tests call ------------------------------------------------------------------------- */

void fake_nvml_script(const char *path) {
    pthread_mutex_lock(&lock);
    snprintf(script, sizeof script, "%s", path);
    memset(&seen, 0, sizeof seen);
    memset(calls, 0, sizeof calls);
    references = 0; /* what an earlier test left open is not this one's */
    pthread_mutex_unlock(&lock);
}

long fake_nvml_calls(const char *name) {
    for (int i = 0; i < CALLS && calls[i].name; i++)
        if (strcmp(calls[i].name, name) == 0) return calls[i].count;
    return 0;
}

int fake_nvml_references(void) { return references; }

/* How many samples of a device lie between the two that were compared last. */
static long span;
long fake_nvml_gpm_span(void) { return span; }

/* --- the library ----------------------------------------------------------------------------- */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter("nvmlInitWithFlags", -1);
    if (code) return code;
    if (lines == 0) return leave(NO_DRIVER);
    if (references++ == 0) {
        generation++;
        present_count = 0;
        char list[96] = "";
        const char *order = text("order");
        if (order) strcpy(list, order);
        for (char *rest, *one = strtok_r(list, " ", &rest); one; one = strtok_r(NULL, " ", &rest))
            present[present_count++] = atoi(one);
    }
    return leave(OK);
}

int nvmlShutdown(void) {
    int code = enter("nvmlShutdown", -1);
    if (code) return code;
    if (references == 0) return leave(UNINITIALIZED);
    references--;
    return leave(OK);
}

const char *nvmlErrorString(int code) { (void)code; return "scripted error"; }

int nvmlSystemGetDriverVersion(char *buffer, unsigned length) {
    int code = enter("nvmlSystemGetDriverVersion", -1);
    if (code) return code;
    const char *found = text("driver");
    snprintf(buffer, length, "%s", found ? found : "");
    return leave(found ? OK : UNINITIALIZED);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = enter("nvmlDeviceGetCount_v2", -1);
    if (code) return code;
    *count = present_count;
    return leave(references ? OK : UNINITIALIZED);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (references == 0) return UNINITIALIZED;
    if ((int)index >= present_count) return INVALID;
    int code = enter("nvmlDeviceGetHandleByIndex_v2", present[index]);
    if (code) return code;
    *handle = (void *)((uintptr_t)generation << 8 | (uintptr_t)(present[index] + 1));
    return leave(OK);
}

int nvmlDeviceGetUUID(void *d, char *b, unsigned n) {
    if (mig_place(d) < 0) return string(__func__, d, "uuid", b, n);
    struct mig mig;
    int code = enter_device(__func__, d);
    if (code) return code;
    if (!mig_at(slot_of(d), mig_place(d), &mig)) return leave(NOT_FOUND);
    snprintf(b, n, "%s", mig.uuid);
    return leave(OK);
}
int nvmlDeviceGetName(void *d, char *b, unsigned n) {
    if (mig_place(d) < 0) return string(__func__, d, "name", b, n);
    int code = enter_device(__func__, d);
    if (code) return code;
    const char *own = text("gpu%d.mig_name.%d", slot_of(d), mig_place(d));
    if (!own) return leave(UNSUPPORTED);
    snprintf(b, n, "%s", own);
    return leave(OK);
}
int nvmlDeviceGetNumGpuCores(void *d, unsigned *v) { return unsigned_number(__func__, d, "cores", v); }
int nvmlDeviceGetPowerUsage(void *d, unsigned *v) { return unsigned_number(__func__, d, "power_mw", v); }
int nvmlDeviceGetClockInfo(void *d, int type, unsigned *v) {
    return type == 1 ? unsigned_number(__func__, d, "clock_mhz", v) : INVALID;
}
int nvmlDeviceGetMaxClockInfo(void *d, int type, unsigned *v) {
    return type == 1 ? unsigned_number(__func__, d, "max_clock_mhz", v) : INVALID;
}

int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *energy_mj) {
    int code = enter_device(__func__, d);
    if (code) return code;
    const char *found = text("gpu%d.energy_mj", slot_of(d)); /* not by double: sentinels have 63 bits */
    if (found) *energy_mj = strtoull(found, NULL, 10);
    return leave(found ? OK : UNSUPPORTED);
}

int nvmlDeviceGetVirtualizationMode(void *d, unsigned *mode) {
    return unsigned_number(__func__, d, "virtualization", mode);
}

int nvmlDeviceGetMigMode(void *d, unsigned *current, unsigned *pending) {
    int code = unsigned_number(__func__, d, "mig", current);
    if (!code) *pending = *current;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned *count) {
    int code = enter_device(__func__, d);
    if (code) return code;
    *count = 7;
    return leave(OK);
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *d, unsigned place, void **handle) {
    struct mig mig;
    int code = enter_device(__func__, d);
    if (code) return code;
    if (!mig_at(slot_of(d), (int)place, &mig)) return leave(NOT_FOUND);
    *handle = (void *)((uintptr_t)d | (uintptr_t)(place + 1) << 48);
    return leave(OK);
}

static int mig_number(const char *name, void *d, int compute, unsigned *result) {
    struct mig mig;
    int code = enter_device(name, d);
    if (code) return code;
    if (!mig_at(slot_of(d), mig_place(d), &mig) || (compute && mig.compute[0] == '-')) return leave(NOT_FOUND);
    *result = compute ? (unsigned)atoi(mig.compute) : mig.instance;
    return leave(OK);
}
int nvmlDeviceGetGpuInstanceId(void *d, unsigned *v) { return mig_number(__func__, d, 0, v); }
int nvmlDeviceGetComputeInstanceId(void *d, unsigned *v) { return mig_number(__func__, d, 1, v); }

struct attributes { unsigned sms, shared[5], slices, computing; unsigned long long mib; };
int nvmlDeviceGetAttributes_v2(void *d, struct attributes *sizes) {
    struct mig mig;
    int code = enter_device(__func__, d);
    if (code) return code;
    if (!mig_at(slot_of(d), mig_place(d), &mig)) return leave(UNSUPPORTED); /* works on MIG handles only */
    *sizes = (struct attributes){.sms = mig.sms, .slices = mig.slices, .computing = mig.computing, .mib = (unsigned long long)mig.mib};
    return leave(OK);
}

int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) {
    int code = enter_device(__func__, d);
    if (code) return code;
    const char *found = text("gpu%d.cc", slot_of(d));
    return leave(found && sscanf(found, "%d.%d", major, minor) == 2 ? OK : UNSUPPORTED);
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; };
int nvmlDeviceGetPciInfo_v3(void *d, struct pci *pci) {
    int code = enter_device(__func__, d);
    if (code) return code;
    const char *id = text("gpu%d.pci", slot_of(d)), *address = text("gpu%d.address", slot_of(d));
    if (!id || !address) return leave(UNSUPPORTED);
    memset(pci, 0, sizeof *pci);
    pci->id = (unsigned)strtoul(id, NULL, 0);
    snprintf(pci->address, sizeof pci->address, "%s", address);
    return leave(OK);
}

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *d, struct memory *memory) {
    double mib = 0;
    int code = number(__func__, d, "memory_mib", &mib);
    if (!code) memory->total = memory->free = (unsigned long long)mib << 20;
    return code;
}

struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(void *d, struct utilization *share) {
    share->memory = 0;
    return unsigned_number(__func__, d, "busy_percent", &share->gpu);
}

/* gpuN.clock_samples is "stamp:MHz stamp:MHz ...": what the driver has buffered. */
struct sample { unsigned long long stamp; union { unsigned whole; double real; } value; };
int nvmlDeviceGetSamples(void *d, int type, unsigned long long after, int *kind, unsigned *count, struct sample *out) {
    int code = enter_device(__func__, d);
    if (code) return code;
    char list[96] = "";
    const char *found = text("gpu%d.clock_samples", slot_of(d));
    if (!found || type != 5) return leave(UNSUPPORTED);
    strcpy(list, found);
    unsigned written = 0;
    for (char *rest, *one = strtok_r(list, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        unsigned long long stamp;
        unsigned mhz;
        if (sscanf(one, "%llu:%u", &stamp, &mhz) != 2 || stamp <= after) continue;
        if (out && written >= *count) return leave(TOO_SMALL);
        if (out) { out[written].stamp = stamp; out[written].value.whole = mhz; }
        written++;
    }
    *kind = 1;
    *count = written;
    return leave(written ? OK : NOT_FOUND);
}

/* --- processes: gpuN.processes and gpuN.mps are "pid pid ...", of a MIG device gpuN.giK.processes ------- */

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute; };
static int processes(const char *name, void *d, const char *key, unsigned *count, struct process *out) {
    int code = enter_device(name, d);
    if (code) return code;
    char list[96] = "";
    struct mig mig;
    const char *mode = text("gpu%d.mig", slot_of(d)), *found;
    if (mig_place(d) >= 0) {
        if (!mig_at(slot_of(d), mig_place(d), &mig)) return leave(NOT_FOUND);
        found = text("gpu%d.gi%u.%s", slot_of(d), mig.instance, key);
    } else {
        if (mode && atoi(mode)) return leave(4); /* of the GPU as a whole only with privileges */
        found = text("gpu%d.%s", slot_of(d), key);
    }
    if (found) strcpy(list, found);
    unsigned listed = 0;
    for (char *rest, *one = strtok_r(list, " ", &rest); one; one = strtok_r(NULL, " ", &rest), listed++) {
        if (!out || listed >= *count) continue;
        out[listed] = (struct process){(unsigned)atoi(one), 1 << 30, mig_place(d) < 0 ? 0xffffffffu : mig.instance, 0xffffffffu};
    }
    int small = listed && (!out || listed > *count);
    *count = listed;
    return leave(small ? TOO_SMALL : OK);
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *count, struct process *out) {
    return processes(__func__, d, "processes", count, out);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *d, unsigned *count, struct process *out) {
    return processes(__func__, d, "mps", count, out);
}

/* gpuN.process_busy is "stamp:pid:percent ...": what the driver has buffered. */
struct busy { unsigned pid; unsigned long long stamp; unsigned sm, memory, encoder, decoder; };
int nvmlDeviceGetProcessUtilization(void *d, struct busy *out, unsigned *count, unsigned long long after) {
    int code = enter_device(__func__, d);
    if (code) return code;
    char list[96] = "";
    const char *found = text("gpu%d.process_busy", slot_of(d));
    if (!found) return leave(UNSUPPORTED);
    strcpy(list, found);
    unsigned written = 0;
    for (char *rest, *one = strtok_r(list, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        struct busy each = {0};
        if (sscanf(one, "%llu:%u:%u", &each.stamp, &each.pid, &each.sm) != 3 || each.stamp <= after) continue;
        if (out && written < *count) out[written] = each;
        written++;
    }
    int small = written && (!out || written > *count);
    *count = written;
    return leave(small ? TOO_SMALL : written ? OK : NOT_FOUND);
}

/* --- GPM: gpuN.gpm.<id> is a metric's value, gpuN.gpm_return.<id> its own nvmlReturn -----------
 * A metric that fails has its value all the same, as garbage would be; -1 leaves its entry untouched. */
#ifndef WITHOUT_GPM

struct gpm_sample { int generation, slot; long number; char instance[80]; double value[METRICS]; int code[METRICS]; };
struct gpm_metric { unsigned id; int code; double value; const char *names[3]; };
struct gpm_request { unsigned version, count; struct gpm_sample *older, *newer; struct gpm_metric metric[]; };
struct gpm_support { unsigned version, supported; };

static long taken;

int nvmlGpmQueryDeviceSupport(void *d, struct gpm_support *support) {
    support->supported = 0;
    int code = unsigned_number(__func__, d, "gpm", &support->supported);
    return code == UNSUPPORTED ? OK : code; /* not in the script: answered, with "no" */
}

int nvmlGpmSampleAlloc(struct gpm_sample **sample) {
    int code = enter(__func__, -1);
    if (code) return code;
    *sample = calloc(1, sizeof **sample);
    return leave(OK);
}

int nvmlGpmSampleFree(struct gpm_sample *sample) {
    int code = enter(__func__, -1);
    if (code) return code;
    free(sample);
    return leave(OK);
}

/* The sample of what a prefix of keys names; called with the lock held, which it gives back. */
static int fill(void *d, struct gpm_sample *sample, const char *prefix, const char *instance) {
    snprintf(sample->instance, sizeof sample->instance, "%s", instance);
    sample->generation = generation;
    sample->slot = slot_of(d);
    sample->number = ++taken;
    for (int id = 0; id < METRICS; id++) sample->code[id] = UNSUPPORTED;
    int length = (int)strlen(prefix);
    for (int i = 0; i < lines; i++) {
        if (strncmp(line[i].key, prefix, length) != 0) continue;
        int id;
        if (sscanf(line[i].key + length, ".%d", &id) == 1 && id >= 0 && id < METRICS) {
            sample->value[id] = strtod(line[i].text, NULL);
            sample->code[id] = OK;
        }
    }
    for (int id = 0; id < METRICS; id++) {
        const char *own = sample->code[id] == OK ? text("%s_return.%d", prefix, id) : NULL;
        if (own) sample->code[id] = atoi(own);
    }
    return leave(OK);
}

int nvmlGpmSampleGet(void *d, struct gpm_sample *sample) {
    int code = enter_device(__func__, d);
    if (code) return code;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "gpu%d.gpm", slot_of(d));
    return fill(d, sample, prefix, "");
}

int nvmlGpmMigSampleGet(void *d, unsigned instance, struct gpm_sample *sample) {
    struct mig mig;
    int code = enter_device(__func__, d), place = 0;
    if (code) return code;
    while (place < 7 && !(mig_at(slot_of(d), place, &mig) && mig.instance == instance)) place++;
    if (place == 7) return leave(NOT_FOUND);
    char prefix[32];
    snprintf(prefix, sizeof prefix, "gpu%d.gi%u.gpm", slot_of(d), instance);
    return fill(d, sample, prefix, mig.uuid);
}

int nvmlGpmMetricsGet(struct gpm_request *request) {
    struct gpm_sample *older = request->older, *newer = request->newer;
    if (request->version != 1 || older == newer || older->slot != newer->slot) return INVALID;
    if (strcmp(older->instance, newer->instance) != 0) return INVALID; /* nor those of two instances */
    if (older->generation != generation || newer->generation != generation) return INVALID;
    int code = enter(__func__, newer->slot);
    if (code) return code;
    for (unsigned i = 0; i < request->count; i++) {
        struct gpm_metric *metric = &request->metric[i];
        if (metric->id >= METRICS) return leave(INVALID);
        if (newer->code[metric->id] == -1) continue;
        metric->code = newer->code[metric->id];
        metric->value = newer->value[metric->id];
    }
    span = newer->number - older->number;
    return leave(OK);
}
#endif
