#include "sandbox_impl.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool
user_is(uid_t uid, gid_t gid)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    return getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0 && r == uid &&
           e == uid && s == uid && rg == gid && eg == gid && sg == gid;
}

kd_err
kd_privileges_drop(uid_t uid, gid_t gid)
{
    if (uid == 0 || gid == 0)
        return KD_INVALID;
    if (user_is(uid, gid))
        return KD_OK;
    if (geteuid() != 0) {
        kd_log(KD_WARN, "sandbox: neither root nor uid=%u gid=%u", uid, gid);
        return KD_DENIED;
    }
    /* Groups first: the right to change them goes with the uid. */
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        kd_log(KD_WARN, "sandbox: uid=%u gid=%u errno=%d", uid, gid, errno);
        return KD_FAILED;
    }
    /* What must not work any more. */
    if (!user_is(uid, gid) || getgroups(0, NULL) != 0 || setresuid(0, 0, 0) == 0)
        return KD_FAILED;
    return KD_OK;
}

/* The sets as the kernel wants them: 64 bits in two words each. */
struct caps {
    struct __user_cap_data_struct word[2];
};

static int
caps_get(struct caps *c)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

    memset(c, 0, sizeof *c);
    return (int)syscall(SYS_capget, &head, c->word);
}

static int
caps_set(const struct caps *c)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

    return (int)syscall(SYS_capset, &head, c->word);
}

/* The bounding set, so that no later exec brings anything back. */
static kd_err
bounding_reduce(uint64_t keep)
{
    for (unsigned i = 0; i < 64; i++) {
        int held = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
        if (held < 0)
            break; /* past the kernel's last capability */
        bool wanted = (keep >> i & 1) != 0;
        if (held == 1 && !wanted && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
            return KD_FAILED;
    }
    return KD_OK;
}

static kd_err
securebits_lock(uint64_t keep)
{
    unsigned long bits = SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_NO_CAP_AMBIENT_RAISE |
                         SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

    /* A process that keeps capabilities starts children as root which give it up
     * themselves; everyone else gets none for being uid 0. */
    if (keep == 0)
        bits |= SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;
    return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) == 0 ? KD_OK : KD_FAILED;
}

kd_err
kd_caps_reduce(uint64_t keep)
{
    kd_err err;
    struct caps c;
    const unsigned setpcap_bit = 1U << CAP_SETPCAP;

    if (caps_get(&c) != 0)
        return KD_FAILED;
    /* Without CAP_SETPCAP neither is allowed, and there is nothing to take away that
     * no_new_privs would let come back. */
    if ((c.word[0].effective & setpcap_bit) != 0 &&
        ((err = bounding_reduce(keep)) != KD_OK ||
         (err = securebits_lock(keep)) != KD_OK))
        return err;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return KD_FAILED;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t part = (uint32_t)(keep >> 32 * i);
        c.word[i].permitted &= part;
        c.word[i].effective &= part;
        c.word[i].inheritable = 0;
    }
    return caps_set(&c) == 0 ? KD_OK : KD_FAILED;
}
