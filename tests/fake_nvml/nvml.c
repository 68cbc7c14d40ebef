/* A stand-in for the driver's libnvidia-ml.so.1: the calls that Vitrine makes, answered from a text file.
 *
 * FAKE_NVML_STATE names the file; it is read again in every call, so that a test changes the GPU at run time.
 * Each line is a key and a number; tests/fake_nvml/__init__.py lists the keys. Without a file: one idle GPU.
 * FAKE_NVML_CALLS, if set, names a file to which every call appends its name.
 * Built with -DOLD_DRIVER it lacks what drivers before 535 lack.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10,
    GPU_IS_LOST = 15, VERSION_MISMATCH = 25,
};
enum { MAX_GPUS = 8, MAX_MIG = 7, MAX_EVENTS = 1000 };
enum { CLOCK_SM = 1, CLOCK_MEM = 2, FIELD_PCIE_TX = 197, FIELD_PCIE_RX = 198, UNSIGNED_INT = 1, XID_EVENT = 8 };

struct device { int gpu, mig; /* mig is -1 for the GPU itself */ };

static struct device gpus[MAX_GPUS], migs[MAX_GPUS][MAX_MIG];
static int sessions, lost[MAX_GPUS], registered[MAX_GPUS], delivered;

static long long state(long long otherwise, const char *format, ...)
{
    char key[128], word[128];
    long long value;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(key, sizeof key, format, arguments);
    va_end(arguments);

    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return otherwise;
    while (fscanf(file, "%127s %lld", word, &value) == 2)
        if (strcmp(word, key) == 0) {
            otherwise = value;
            break;
        }
    fclose(file);
    return otherwise;
}

static void pause_ms(long milliseconds)
{
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* What every call does first: note itself, hang while told to, fail if told to. */
static int enter(const char *function)
{
    const char *path = getenv("FAKE_NVML_CALLS");
    if (path) {
        int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dprintf(file, "%s\n", function);
        close(file);
    }
    while (state(0, "hang.%s", function))
        pause_ms(2);
    return state(SUCCESS, "error.%s", function);
}

/* The same for a call on a device. A lost GPU stays lost for the session, as with the real driver. */
static int enter_device(const char *function, const struct device *device)
{
    int error = enter(function);
    if (error)
        return error;
    if (!sessions)
        return UNINITIALIZED;
    if (!device)
        return INVALID_ARGUMENT;
    if (state(0, "%d.lost", device->gpu))
        lost[device->gpu] = 1;
    if (lost[device->gpu])
        return GPU_IS_LOST;
    if (device->mig >= 0 && !state(0, "%d:%d.instance", device->gpu, device->mig))
        return NOT_FOUND;
    return state(SUCCESS, "%d.error.%s", device->gpu, function);
}

#define ENTER(device) do { int error = enter_device(__func__, device); if (error) return error; } while (0)

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    int error = enter(__func__);
    if (error)
        return error;
    if (sessions++ == 0)
        for (int gpu = 0; gpu < MAX_GPUS; gpu++) {
            lost[gpu] = registered[gpu] = 0;
            gpus[gpu] = (struct device){gpu, -1};
            for (int mig = 0; mig < MAX_MIG; mig++)
                migs[gpu][mig] = (struct device){gpu, mig};
        }
    return SUCCESS;
}

int nvmlShutdown(void)
{
    int error = enter(__func__);
    if (error)
        return error;
    if (!sessions)
        return UNINITIALIZED;
    sessions--;
    return SUCCESS;
}

const char *nvmlErrorString(int error)
{
    static char text[40];
    snprintf(text, sizeof text, "fake NVML error %d", error);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    int error = enter(__func__);
    if (error)
        return error;
    snprintf(version, length, "999.%lld", state(0, "driver_minor"));
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    int error = enter(__func__);
    if (error)
        return error;
    *count = state(1, "count");
    return sessions ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device)
{
    if (index >= state(1, "count") || index >= MAX_GPUS)
        return INVALID_ARGUMENT;
    ENTER(&gpus[index]);
    *device = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length)
{
    ENTER(device);
    long long serial = state(device->gpu, "%d.serial", device->gpu);
    if (device->mig < 0)
        snprintf(uuid, length, "GPU-00000000-0000-0000-0000-%012lld", serial);
    else
        snprintf(uuid, length, "MIG-00000000-0000-0000-%04d-%012lld", device->mig, serial);
    return SUCCESS;
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned length)
{
    ENTER(device);
    snprintf(name, length, device->mig < 0 ? "Fake H100" : "Fake H100 MIG 1g.10gb");
    return SUCCESS;
}

struct rates { unsigned gpu, memory; };

int nvmlDeviceGetUtilizationRates(struct device *device, struct rates *rates)
{
    ENTER(device);
    if (device->mig >= 0)
        return NOT_SUPPORTED;
    rates->gpu = state(0, "%d.utilization", device->gpu);
    rates->memory = state(0, "%d.memory_utilization", device->gpu);
    return SUCCESS;
}

static unsigned long long memory(const struct device *device, const char *which)
{
    if (device->mig < 0)
        return state(0, "%d.memory_%s", device->gpu, which);
    return state(0, "%d:%d.memory_%s", device->gpu, device->mig, which);
}

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

/* The first version's "used" includes what the driver reserves. */
int nvmlDeviceGetMemoryInfo(struct device *device, struct memory *info)
{
    ENTER(device);
    info->total = memory(device, "total");
    info->used = memory(device, "used") + memory(device, "reserved");
    info->free = info->total - info->used;
    return SUCCESS;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *info)
{
    ENTER(device);
    if (info->version != (sizeof *info | 2 << 24))
        return VERSION_MISMATCH;
    info->total = memory(device, "total");
    info->used = memory(device, "used");
    info->reserved = memory(device, "reserved");
    info->free = info->total - info->used - info->reserved;
    return SUCCESS;
}

struct temperature { unsigned version, sensor; int temperature; };

int nvmlDeviceGetTemperatureV(struct device *device, struct temperature *reading)
{
    ENTER(device);
    if (reading->version != (sizeof *reading | 1 << 24))
        return VERSION_MISMATCH;
    reading->temperature = state(0, "%d.temperature", device->gpu);
    return SUCCESS;
}
#endif

int nvmlDeviceGetTemperature(struct device *device, unsigned sensor, unsigned *temperature)
{
    (void)sensor;
    ENTER(device);
    *temperature = state(0, "%d.temperature", device->gpu);
    return SUCCESS;
}

#define NUMBER(function, type, key)                      \
    int function(struct device *device, type *value)     \
    {                                                    \
        ENTER(device);                                   \
        *value = state(0, "%d." key, device->gpu);       \
        return SUCCESS;                                  \
    }

NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power_milliwatts")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit_milliwatts")
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy_millijoules")
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, "pcie_replays")
#ifdef OLD_DRIVER
NUMBER(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, "reasons_supported")
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "reasons")
#else
NUMBER(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, "reasons_supported")
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "reasons")
#endif

int nvmlDeviceGetClockInfo(struct device *device, unsigned type, unsigned *megahertz)
{
    ENTER(device);
    *megahertz = state(0, type == CLOCK_SM ? "%d.sm_megahertz" : "%d.memory_megahertz", device->gpu);
    return type == CLOCK_SM || type == CLOCK_MEM ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetTotalEccErrors(struct device *device, unsigned type, unsigned counter, unsigned long long *count)
{
    ENTER(device);
    if (counter != 0) /* lifetime counts, not those since the driver was loaded */
        return INVALID_ARGUMENT;
    *count = state(0, type ? "%d.ecc_uncorrected" : "%d.ecc_corrected", device->gpu);
    return SUCCESS;
}

int nvmlDeviceGetRemappedRows(struct device *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed)
{
    ENTER(device);
    *corrected = state(0, "%d.rows_corrected", device->gpu);
    *uncorrected = state(0, "%d.rows_uncorrected", device->gpu);
    *pending = state(0, "%d.rows_pending", device->gpu);
    *failed = state(0, "%d.rows_failed", device->gpu);
    return SUCCESS;
}

struct field {
    uint32_t id, scope;
    int64_t timestamp, latency;
    uint32_t type, error;
    union { double number; unsigned narrow; unsigned long long wide; } value;
};

int nvmlDeviceGetFieldValues(struct device *device, int count, struct field *fields)
{
    ENTER(device);
    for (int i = 0; i < count; i++) {
        fields[i].error = state(SUCCESS, "%d.error.field.%u", device->gpu, fields[i].id);
        fields[i].type = UNSIGNED_INT;
        memset(&fields[i].value, 0xff, sizeof fields[i].value); /* only the type's own bytes mean anything */
        if (fields[i].id == FIELD_PCIE_TX)
            fields[i].value.narrow = state(0, "%d.pcie_transmit", device->gpu);
        else if (fields[i].id == FIELD_PCIE_RX)
            fields[i].value.narrow = state(0, "%d.pcie_receive", device->gpu);
        else
            fields[i].error = NOT_SUPPORTED;
    }
    return SUCCESS;
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending)
{
    ENTER(device);
    *current = *pending = state(0, "%d.mig", device->gpu);
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count)
{
    ENTER(device);
    *count = MAX_MIG;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **instance)
{
    if (index >= MAX_MIG)
        return INVALID_ARGUMENT;
    ENTER(device);
    *instance = &migs[device->gpu][index];
    return state(0, "%d:%u.instance", device->gpu, index) ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetSupportedEventTypes(struct device *device, unsigned long long *types)
{
    ENTER(device);
    *types = state(XID_EVENT, "%d.event_types", device->gpu);
    return SUCCESS;
}

int nvmlEventSetCreate(void **set)
{
    static int only;
    int error = enter(__func__);
    if (error)
        return error;
    *set = &only;
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(struct device *device, unsigned long long types, void *set)
{
    (void)set;
    ENTER(device);
    registered[device->gpu] = types == XID_EVENT;
    return SUCCESS;
}

struct event { struct device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

/* Events are numbered from 0 in the state; each is delivered once, and lost if its GPU is not registered. */
int nvmlEventSetWait_v2(void *set, struct event *event, unsigned milliseconds)
{
    (void)set;
    int error = enter(__func__);
    if (error)
        return error;
    while (delivered < MAX_EVENTS) {
        long long xid = state(-1, "event.%d.xid", delivered);
        if (xid < 0)
            break;
        int gpu = state(0, "event.%d.gpu", delivered++);
        if (registered[gpu]) {
            *event = (struct event){&gpus[gpu], XID_EVENT, xid, ~0u, ~0u};
            return SUCCESS;
        }
    }
    pause_ms(milliseconds);
    return TIMEOUT;
}

int nvmlEventSetFree(void *set)
{
    (void)set;
    return enter(__func__);
}
