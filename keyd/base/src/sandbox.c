#include "sandbox_impl.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>

#define CAPS_SPAWN (1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_KILL)

static const struct {
    const char *name;
    uint64_t caps;
    unsigned landlock;
} roles[] = {
#define KD_ROLE(id, name, start, tables, caps, landlock) {name, caps, landlock},
#include <keyd/base/sandbox_roles.def>
#undef KD_ROLE
};

static struct {
    bool confined;
    bool entered;
    enum kd_role role;
    int landlock;
    char text[96];
} state = {.text = "role=none seccomp=off landlock=off"};

const char *
kd_role_name(enum kd_role role)
{
    return (unsigned)role < KD_ROLE_COUNT ? roles[role].name : "unknown";
}

const char *
kd_sandbox_describe(void)
{
    return state.text;
}

bool
kd_sandbox_is_real(void)
{
    return kd_sandbox_real;
}

static void
describe(void)
{
    char landlock[16] = "off";

    if (state.landlock > 0)
        kd_ignore(snprintf(landlock, sizeof landlock, "%d", state.landlock)); /* fits */
    kd_ignore(snprintf(state.text, sizeof state.text, /* cut is better than nothing */
                       "role=%s seccomp=%s landlock=%s capabilities=%s",
                       kd_role_name(state.role),
                       state.entered && kd_sandbox_real ? "kill" : "off", landlock,
                       roles[state.role].caps == 0 ? "none" : "spawn"));
}

kd_err
kd_sandbox_confine(enum kd_role role, const struct kd_sandbox_paths *paths,
                   enum kd_sandbox_mode mode)
{
    kd_err err;

    if ((unsigned)role >= KD_ROLE_COUNT || state.confined)
        return KD_INVALID;
    if (!__libc_single_threaded) {
        kd_log(KD_WARN, "sandbox: threads exist already");
        return KD_INVALID;
    }
    /* A sanitizer's allocator has no such knob and says so. */
    if (kd_sandbox_real && mallopt(M_ARENA_MAX, 1) != 1)
        return KD_FAILED;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        kd_log(KD_WARN, "sandbox: no_new_privs errno=%d", errno);
        return KD_UNSUPPORTED;
    }
    if ((err = kd_caps_reduce(roles[role].caps)) != KD_OK) {
        kd_log(KD_WARN, "sandbox: capabilities errno=%d", errno);
        return err;
    }
    err = kd_landlock_apply(paths, roles[role].landlock, &state.landlock);
    if (err != KD_OK)
        return err;
    if (state.landlock == 0 && kd_sandbox_real) {
        kd_log(KD_WARN, "sandbox: this kernel has no Landlock switched on");
        if (mode == KD_SANDBOX_STRICT)
            return KD_UNSUPPORTED;
    }
    state.confined = true;
    state.role = role;
    describe();
    return KD_OK;
}

kd_err
kd_sandbox_enter(enum kd_role role, const struct kd_sandbox_paths *paths,
                 enum kd_sandbox_mode mode)
{
    kd_err err;

    if ((unsigned)role >= KD_ROLE_COUNT || state.entered)
        return KD_INVALID;
    if (!state.confined && (err = kd_sandbox_confine(role, paths, mode)) != KD_OK)
        return err;
    if (role != state.role)
        return KD_INVALID;
    if ((err = kd_seccomp_apply(role)) != KD_OK)
        return err;
    state.entered = true;
    describe();
    return KD_OK;
}
