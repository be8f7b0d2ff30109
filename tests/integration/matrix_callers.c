/* Who asks: every kind of principal and of stranger, on unix sockets and over TLS. */
#include "matrix.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BEN = 61021, CLERK = 61022 };

#define LOOKUPS " LookupSignet LookupHistory VerifyCurrent "
#define STRANGER(text, where, user)                                                    \
    {                                                                                  \
        .name = text, .listener = where, .uid = user, .is_stranger = true              \
    }
#define OFF(text, who)                                                                 \
    {                                                                                  \
        .name = text, .listener = "tls", .kind = TURNED_OFF, .identity = who           \
    }

/* What each of tests/support/daemon.h's principals is, and of matrix_place's. A
 * stranger is no principal there, and is refused as soon as it connects. */
const struct caller callers[] = {
    {.name = "operator",
     .listener = "admin",
     .com = true,
     .is_operator = true,
     .share = 1},
    {.name = "another operator",
     .listener = "admin",
     .uid = BEN,
     .com = true,
     .is_operator = true,
     .only_quorum = true},
    {.name = "no operator",
     .listener = "admin",
     .uid = CLERK,
     .com = true,
     .only_quorum = true},
    {.name = "auditor",
     .listener = "admin",
     .uid = DAEMON_AUDITOR,
     .permitted = " AuditRead AuditHead "},
    {.name = "root of submission", .listener = "submission", .com = true},
    {.name = "root of mta", .listener = "mta", .com = true},
    {.name = "submitd",
     .listener = "submission",
     .uid = DAEMON_SUBMITD,
     .com = true,
     .permitted = LOOKUPS "IssueUserSignet SignOutbound "},
    {.name = "dmtpd",
     .listener = "mta",
     .uid = DAEMON_DMTPD,
     .com = true,
     .permitted = LOOKUPS "OpenEnvelope OpenBounce MakeBounce "},
    {.name = "milter", .listener = "milter", .uid = DAEMON_MILTER, .permitted = " "},
    {.name = "root of milter", .listener = "milter", .com = true},
    {.name = "foreign",
     .listener = "submission",
     .uid = DAEMON_FOREIGN,
     .permitted = " IssueUserSignet "},

    STRANGER("submitd on mta", "mta", DAEMON_SUBMITD),
    STRANGER("submitd on milter", "milter", DAEMON_SUBMITD),
    STRANGER("submitd on admin", "admin", DAEMON_SUBMITD),
    STRANGER("dmtpd on submission", "submission", DAEMON_DMTPD),
    STRANGER("dmtpd on admin", "admin", DAEMON_DMTPD),
    STRANGER("milter on submission", "submission", DAEMON_MILTER),
    STRANGER("foreign on mta", "mta", DAEMON_FOREIGN),
    STRANGER("auditor on submission", "submission", DAEMON_AUDITOR),
    STRANGER("nobody on submission", "submission", DAEMON_NOBODY),
    STRANGER("nobody on mta", "mta", DAEMON_NOBODY),
    STRANGER("nobody on milter", "milter", DAEMON_NOBODY),
    STRANGER("nobody on admin", "admin", DAEMON_NOBODY),
    STRANGER("overflow on submission", "submission", 65534),
    STRANGER("overflow on mta", "mta", 65534),
    STRANGER("overflow on milter", "milter", 65534),
    STRANGER("gate on submission", "submission", DAEMON_GATE),
    STRANGER("vault on mta", "mta", DAEMON_VAULT),

    {.name = "remote of all",
     .listener = "tls",
     .kind = REMOTE,
     .identity = ID_ALL,
     .com = true},
    {.name = "remote of some",
     .listener = "tls",
     .kind = REMOTE,
     .identity = ID_SOME,
     .com = true,
     .permitted = " VerifyCurrent "},
    {.name = "remote of nothing",
     .listener = "tls",
     .kind = REMOTE,
     .identity = ID_NOTHING,
     .permitted = " "},
    {.name = "remote of another domain",
     .listener = "tls",
     .kind = REMOTE,
     .identity = ID_FOREIGN},
    OFF("remote, no principal's name", ID_UNNAMED),
    OFF("remote, by another CA", ID_OTHER_CA),
    OFF("remote, signed by itself", ID_SELF_SIGNED),
    OFF("remote, expired", ID_EXPIRED),
    OFF("remote, of a withdrawn key", ID_DENIED),
};
const size_t n_callers = sizeof callers / sizeof callers[0];

/* --- certificates and configuration --- */

static void
make_identities(struct matrix_place *p)
{
    const struct identity *root = &p->tls.root;
    struct identity other;
    char pin[65], line[80];

    identity_root(&other, "another CA");
#define MAKE(who, ...)                                                                 \
    identity_make(&p->own[who], &(struct cert_spec){__VA_ARGS__});                     \
    p->ids[who] = &p->own[who]
    MAKE(ID_ALL, .issuer = root, .san = "DNS:mx4.example.com");
    MAKE(ID_FOREIGN, .issuer = root, .san = "DNS:mx5.example.com");
    MAKE(ID_UNNAMED, .issuer = root, .san = "DNS:mx9.example.com");
    MAKE(ID_OTHER_CA, .issuer = &other, .san = "DNS:mx4.example.com");
    MAKE(ID_SELF_SIGNED, .san = "DNS:mx4.example.com");
    MAKE(ID_EXPIRED, .issuer = root, .san = "DNS:mx4.example.com", .from = -7200,
         .to = -3600);
    MAKE(ID_DENIED, .issuer = root, .san = "DNS:mx4.example.com");
#undef MAKE
    p->ids[ID_SOME] = &p->tls.mx2;
    p->ids[ID_NOTHING] = &p->tls.mx3;
    identity_clear(&other);
    identity_pin_text(&p->own[ID_DENIED], pin);
    snprintf(line, sizeof line, "%s\n", pin);
    tls_place_deny(&p->tls, line);
}

static void
put_list(FILE *f, enum kd_class klass)
{
    const char *comma = "";

    fputs(" operations = {", f);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!kd_op_is_served(op, klass) || (kd_op_flags(op) & KD_OPF_EVERYONE) != 0)
            continue;
        fprintf(f, "%s \"%s\"", comma, kd_op_name(op));
        comma = ",";
    }
    fputs(" }\n", f);
}

static void
make_sections(struct matrix_place *p)
{
    static const struct {
        const char *name, *known_by, *domains;
        enum kd_class klass;
    } more[] = {
        {"ben", "uid = 61021", "\"example.com\", \"example.net\"", KD_CLASS_ADMIN},
        {"clerk", "uid = 61022", "\"example.com\", \"example.net\"", KD_CLASS_ADMIN},
        {"mx4", "san = \"mx4.example.com\"", "\"example.com\", \"example.net\"",
         KD_CLASS_TLS},
        {"mx5", "san = \"mx5.example.com\"", "\"example.net\"", KD_CLASS_TLS},
    };
    FILE *f = fmemopen(p->sections, sizeof p->sections - 1, "we");

    assert_non_null(f);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        fprintf(f, "principal \"%s\" {\n class = \"%s\"\n %s\n domains = { %s }\n",
                more[i].name, kd_class_name(more[i].klass), more[i].known_by,
                more[i].domains);
        put_list(f, more[i].klass);
        fputs("}\n", f);
    }
    assert_int_equal(fclose(f), 0);
}

/* Read by libkeyd in this user's name. */
static void
write_identities(struct matrix_place *p)
{
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(p->cert[i], sizeof p->cert[i], "%s/client%u.pem", p->tls.dir, i);
        snprintf(p->key[i], sizeof p->key[i], "%s/client%u.key", p->tls.dir, i);
        certs_write(p->cert[i], &p->ids[i], 1);
        key_write(p->key[i], p->ids[i]);
    }
}

void
matrix_place_make(struct matrix_place *p, const char *more)
{
    *p = (struct matrix_place){0};
    tls_place_make(&p->tls, more);
    make_identities(p);
    make_sections(p);
    write_identities(p);
}

void
matrix_place_clear(struct matrix_place *p)
{
    for (unsigned i = 0; i < IDS; i++) {
        unlink(p->cert[i]);
        unlink(p->key[i]);
        identity_clear(&p->own[i]);
    }
    tls_place_clear(&p->tls);
}
