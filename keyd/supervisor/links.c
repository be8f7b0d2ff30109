#include "links.h"
#include "hosts.h"
#include "tls.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum { RELINKS_A_MINUTE = 30, RELINK_MS = 20 };

void
links_send(struct child *c, enum kd_link link, unsigned gate, uint32_t serial, int fd)
{
    struct kd_ctl_link m = {(uint8_t)link, (uint8_t)gate, serial};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_link_put(&b, &m);
    /* A child that is gone gets its links when it is started again. */
    kd_ignore(kd_chan_put_buf(&c->ctl, KD_MSG_ctl_link, &b, fd));
    kd_buf_free(&b);
}

void
links_join(struct supervisor *s, struct child *a, enum kd_link a_link, struct child *b,
           enum kd_link b_link, unsigned gate, struct link *link)
{
    int fds[2];
    uint32_t serial = ++s->serial;

    *link = (struct link){.serial = serial};
    if (a == NULL || b == NULL || a->pid <= 0 || b->pid <= 0)
        return;
    if (kd_chan_pair(fds) != KD_OK) {
        kd_log(KD_WARN, "no channel between two roles: %s", strerror(errno));
        return;
    }
    links_send(a, a_link, gate, serial, fds[0]);
    links_send(b, b_link, gate, serial, fds[1]);
}

static void
join_gate(struct supervisor *s, unsigned gate, bool to_vault, bool to_ledger)
{
    struct child *g = child_of(s, KD_ROLE_GATE, gate);

    if (to_vault)
        links_join(s, g, KD_LINK_VAULT, child_of(s, KD_ROLE_VAULT, 0), KD_LINK_GATE,
                   gate, &s->links.to_vault[gate]);
    if (to_ledger)
        links_join(s, g, KD_LINK_LEDGER, child_of(s, KD_ROLE_LEDGER, 0), KD_LINK_GATE,
                   gate, &s->links.to_ledger[gate]);
}

static void
join_core(struct supervisor *s)
{
    links_join(s, child_of(s, KD_ROLE_VAULT, 0), KD_LINK_LEDGER,
               child_of(s, KD_ROLE_LEDGER, 0), KD_LINK_VAULT, 0, &s->links.core);
}

/* A gate accepts from when the vault knows how it stands: until then connections wait
 * in the kernel's queue, for the moment that a start takes. */
void
links_hand_listener(struct supervisor *s, struct child *gate)
{
    int fd = s->is_settled
                 ? fcntl(s->listeners[kd_gate_class(gate->gate)], F_DUPFD_CLOEXEC, 0)
                 : -1;

    if (fd >= 0)
        links_send(gate, KD_LINK_LISTENER, gate->gate, ++s->serial, fd);
}

/* All links of a role that was started (again). */
void
links_make(struct supervisor *s, struct child *c)
{
    if (child_is_host(c)) {
        host_link(s, c);
        return;
    }
    if (c->role == KD_ROLE_GATE) {
        tls_send(s, c); /* before the listener: whom it may believe */
        join_gate(s, c->gate, true, true);
        links_hand_listener(s, c);
        return;
    }
    join_core(s);
    for (unsigned gate = 0; gate < KD_GATES_MAX; gate++)
        join_gate(s, gate, c->role == KD_ROLE_VAULT, c->role == KD_ROLE_LEDGER);
}

/* The vault reads the credential itself; it gets a descriptor opened anew each time, so
 * that a rotated file counts. */
void
links_hand_credential(struct supervisor *s, struct child *vault)
{
    if (s->conf->credential == NULL)
        return;
    int fd = open(s->conf->credential, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    s->opens_itself = fd >= 0;
    if (fd >= 0)
        links_send(vault, KD_LINK_CREDENTIAL, 0, ++s->serial, fd);
    else
        kd_log(KD_WARN, "credential %s: %s", s->conf->credential, strerror(errno));
}

/* Counts a link that broke by this running child's fault; false if it was ended. */
static bool
may_have_another(struct child *c)
{
    int64_t now = kd_clock_ms();

    if (now - c->lost_since > 60000) {
        c->lost_since = now;
        c->n_lost = 0;
    }
    if (++c->n_lost <= RELINKS_A_MINUTE)
        return true;
    kd_log(KD_WARN, "%s loses its links too often: starting it again", c->name);
    c->is_ended_by_us = true;
    kill(c->pid, SIGKILL);
    return false;
}

/* A link broke. What to do about it shows in a moment: an end that died is on its way
 * to being started again, with all its links. */
void
links_on_lost(struct supervisor *s, struct child *from, struct kd_slice body)
{
    struct kd_ctl_lost m;

    if (kd_ctl_lost_get(body, &m) != KD_OK)
        return;
    struct link *link = child_link(s, from, &m);
    /* Else the other end said so first, or it was replaced meanwhile. */
    if (link != NULL && link->serial == m.serial && link->lost_at == 0)
        link->lost_at = kd_clock_ms();
}

/* Both ends live: somebody said something malformed, or does not read. The end that is
 * trusted less answers for it, whoever reported: the gate, and between vault and ledger
 * the ledger. Else a captured gate could have the vault ended, and the keys sealed. */
static bool
is_due(struct link *link, struct child *answers, const struct child *other)
{
    if (link->lost_at == 0 || kd_clock_ms() - link->lost_at < RELINK_MS)
        return false;
    link->lost_at = 0;
    /* Who does not run gets its links when it is started. */
    return answers != NULL && answers->pid > 0 && other->pid > 0 &&
           may_have_another(answers);
}

/* Makes broken links anew; returns how long the loop may sleep, at most timeout. */
int
links_due(struct supervisor *s, int timeout)
{
    struct child *vault = child_of(s, KD_ROLE_VAULT, 0);
    struct child *ledger = child_of(s, KD_ROLE_LEDGER, 0);
    bool waits = false;

    if (is_due(&s->links.core, ledger, vault))
        join_core(s);
    waits |= s->links.core.lost_at != 0;
    for (unsigned gate = 0; gate < KD_GATES_MAX; gate++) {
        struct child *g = child_of(s, KD_ROLE_GATE, gate);
        struct link *to_vault = &s->links.to_vault[gate];
        struct link *to_ledger = &s->links.to_ledger[gate];
        join_gate(s, gate, is_due(to_vault, g, vault), is_due(to_ledger, g, ledger));
        waits |= to_vault->lost_at != 0 || to_ledger->lost_at != 0;
    }
    return waits && timeout > RELINK_MS ? RELINK_MS : timeout;
}
