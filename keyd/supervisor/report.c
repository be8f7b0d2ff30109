#include "report.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/p11/finding.h>

#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* --- processes --- */

static void
tell_process(struct supervisor *s, const struct child *about)
{
    /* The numbers of the protocol: supervisor 1, gate 2, vault 3, ledger 4, host 5. */
    static const uint8_t numbers[KD_ROLE_COUNT] = {[KD_ROLE_SUPERVISOR] = 1,
                                                   [KD_ROLE_GATE] = 2,
                                                   [KD_ROLE_VAULT] = 3,
                                                   [KD_ROLE_LEDGER] = 4,
                                                   [KD_ROLE_P11] = 5};
    struct kd_ctl_process m = {numbers[about->role], (uint8_t)about->gate,
                               (uint32_t)about->pid, about->uid,
                               about->is_ready,      about->starts};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_process_put(&b, &m);
    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        if (c->role == KD_ROLE_GATE && c->pid > 0)
            kd_ignore(kd_chan_put_buf(&c->ctl, KD_MSG_ctl_process, &b, -1));
    }
    kd_buf_free(&b);
}

void
report_processes(struct supervisor *s)
{
    const struct child self = {.role = KD_ROLE_SUPERVISOR,
                               .pid = getpid(),
                               .uid = geteuid(),
                               .is_ready = s->is_confined};

    tell_process(s, &self);
    for (unsigned i = 0; i < s->n_children; i++)
        tell_process(s, &s->children[i]);
}

/* --- events --- */

enum vault_event {
#define KD_EVENT(name, level, text) EVENT_##name,
#include <keyd/events.def>
#undef KD_EVENT
};

/* With a credential there is more to come after the registry was opened. */
static bool
settles(const struct supervisor *s, uint16_t event)
{
    return event == EVENT_OPEN
               ? !s->opens_itself
               : event == EVENT_UNSEALED || event == EVENT_NO_KEYSTORE ||
                     event == EVENT_SET_ASIDE || event == EVENT_WRONG_SECRET ||
                     event == EVENT_KEYSTORE_BAD || event == EVENT_KEYSTORE_OLD ||
                     event == EVENT_CHECKPOINT_BAD || event == EVENT_LEDGER_WENT_BACK ||
                     event == EVENT_CHECKPOINT_UNREADABLE ||
                     event == EVENT_REGISTRY_BEHIND || event == EVENT_REGISTRY_FORKED ||
                     event == EVENT_CHECKPOINT_MISSING;
}

/* Where a text is put together. */
struct text {
    char *out;
    size_t at, size; /* with room for the NUL */
};

static void
add(struct text *t, const char *s, size_t n)
{
    if (n > t->size - 1 - t->at)
        n = t->size - 1 - t->at;
    memcpy(t->out + t->at, s, n);
    t->at += n;
}

static void
add_number(struct text *t, uint64_t v)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);

    add(t, digits, n < 0 ? 0 : (size_t)n);
}

/* Principals and domains are written in these; the vault may be captured. */
static void
add_name(struct text *t, struct kd_slice name)
{
    bool is_good = name.n != 0;

    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        is_good = is_good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                              c == '.' || c == '_' || c == '-');
    }
    if (is_good)
        add(t, (const char *)name.p, name.n);
    else
        add(t, "?", 1);
}

static void
add_text(struct text *t, const char *s)
{
    add(t, s, strlen(s));
}

static void
add_rv(struct text *t, uint64_t rv)
{
    char name[48];

    add_text(t, rv == 0 ? "no error" : p11_rv_name(rv, name));
}

/* The vault may be captured: a code of no finding is its number. */
static void
add_finding(struct text *t, uint64_t code)
{
    if (code < P11_FINDINGS)
        add_text(t, p11_finding_text((enum p11_finding_code)code));
    else
        add_number(t, code);
}

static bool
begins(const char *text, const char *mark)
{
    return strncmp(text, mark, strlen(mark)) == 0;
}

void
report_text(const char *text, const struct kd_ctl_event *m, char *out, size_t size)
{
    static const char number[] = "%llu", name[] = "%name", operation[] = "%op",
                      finding[] = "%finding", rv[] = "%rv";
    const uint64_t numbers[] = {m->a, m->b};
    const char *op = kd_op_name(m->op) == NULL ? "?" : kd_op_name(m->op);
    struct text t = {out, 0, size};
    size_t n = 0;

    while (*text != '\0') {
        if (n < 2 && begins(text, number)) {
            add_number(&t, numbers[n++]);
            text += sizeof number - 1;
        } else if (begins(text, name)) {
            add_name(&t, m->name);
            text += sizeof name - 1;
        } else if (begins(text, operation)) {
            add(&t, op, strlen(op));
            text += sizeof operation - 1;
        } else if (n < 2 && begins(text, finding)) {
            add_finding(&t, numbers[n++]);
            text += sizeof finding - 1;
        } else if (n < 2 && begins(text, rv)) {
            add_rv(&t, numbers[n++]);
            text += sizeof rv - 1;
        } else {
            add(&t, text++, 1);
        }
    }
    out[t.at] = '\0';
}

bool
report_event(const struct supervisor *s, struct kd_slice body)
{
    static const struct {
        enum kd_log_level level;
        const char *text;
    } events[] = {
#define KD_EVENT(name, level, text) {level, text},
#include <keyd/events.def>
#undef KD_EVENT
    };
    struct kd_ctl_event m;
    char line[512];

    if (kd_ctl_event_get(body, &m) != KD_OK ||
        m.event >= sizeof events / sizeof *events)
        return false;
    report_text(events[m.event].text, &m, line, sizeof line);
    kd_log(events[m.event].level, "vault: %s", line);
    return settles(s, m.event);
}

/* --- systemd --- */

void
report_ready(const char *status)
{
    /* Not started by systemd: nothing to tell. The same for the others. */
    kd_ignore(sd_notifyf(0, "READY=1\nSTATUS=%s", status));
}

void
report_reloading(void)
{
    kd_ignore(sd_notifyf(0,
                         "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the "
                         "configuration",
                         (unsigned long long)(kd_clock_ns() / 1000)));
}

void
report_stopping(unsigned seconds)
{
    enum { BESIDE = 20 }; /* for the roles to end */

    kd_ignore(sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\nSTATUS=draining",
                         (unsigned long long)(seconds + BESIDE) * 1000000));
}
