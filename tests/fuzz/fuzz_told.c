/* What a ledger says of mail, read by a vault: the first octet says which answer it is.
 * Whatever it says, no signet counts that is not ours and its author's, nothing is
 * superseded earlier than was asked for, and a former organizational signet is kept
 * only if it holds. */
#include "fuzz.h"

#include "sg.h"

#include "../../keyd/ops/mail_ask.h"

#include <keyd/base/memfd.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { SINCE_MS = 1000, NOW_MS = 2000 };

static struct vault vault;
static struct task task;

/* A domain whose SOK is that of the test vectors. */
static void
set_up(void)
{
    struct vault_org *org = calloc(1, sizeof *org);

    fuzz_require(org != NULL && sodium_init() >= 0);
    memcpy(org->name, "example.com", 11);
    org->name_size = 11;
    org->was_served = org->verified = true;
    org->n_signers = 1;
    memcpy(org->signers[0], sg_world()->sok.key, sizeof org->signers[0]);
    vault.orgs[0] = org;
    vault.n_orgs = 1;
    task.vault = &vault;
    task.told_fd = -1;
}

static void
try_author(struct kd_slice body, int fd)
{
    struct kd_slice alice = kd_slice_str("alice@example.com");
    struct mail_authors a = {.since_ms = SINCE_MS};
    struct dime_signet s;
    enum dime_reason why;

    kd_buf_init(&a.octets, KD_AUTHOR_OCTETS_MAX);
    task.told = body;
    task.told_fd = fd;
    kd_err err = mail_told_author(&task, &a);
    task.told = kd_slice(NULL, 0);
    task.told_fd = -1;
    fuzz_require(err == KD_OK || a.n == 0);
    for (size_t i = 0; i < a.n; i++)
        fuzz_require(i == 0 ? a.list[i].superseded_ms == 0
                            : a.list[i].superseded_ms == 0 ||
                                  a.list[i].superseded_ms >= SINCE_MS);
    if (err == KD_OK)
        err = mail_authors_believe(&task, 0, alice, &a);
    fuzz_require(err == KD_OK || a.n == 0);
    for (size_t i = 0; i < a.n; i++) {
        fuzz_require(dime_signet_parse_as(DIME_USER, a.list[i].signet, &s, &why) ==
                     KD_OK);
        fuzz_require(kd_slice_eq(s.identifier, alice) && vault_signed(&vault, 0, &s));
    }
    mail_authors_free(&a);
}

/* The answer's last field comes as a descriptor. */
static void
try_author_by_descriptor(struct kd_slice octets)
{
    struct kd_told_author m = {.tag = 1};
    struct kd_buf account, body;
    int fd;

    if (kd_memfd_seal(octets, &fd) != KD_OK)
        return;
    kd_buf_init(&account, 64);
    kd_buf_init(&body, 1024);
    kd_account_part_put(&account, &(struct kd_account_part){.generation = 1});
    m.account = kd_buf_slice(&account);
    kd_told_author_put(&body, &m);
    try_author(kd_buf_slice(&body), fd);
    close(fd);
    kd_buf_free(&account);
    kd_buf_free(&body);
}

static void
try_recipient(struct kd_slice body)
{
    struct mail_recipient r;

    task.told = body;
    if (mail_told_recipient(&task, &r) != KD_OK)
        return;
    enum mail_standing is = mail_recipient_standing(&r, 1, NOW_MS);
    fuzz_require(is >= MAIL_CURRENT && is <= MAIL_UNKNOWN);
    fuzz_require(r.is_known || is == MAIL_UNKNOWN);
    fuzz_require(r.superseded_ms == 0 || is != MAIL_CURRENT);
    fuzz_require(r.account.state <= KD_ACCOUNT_CLOSED);
}

static void
try_former(struct kd_slice octets)
{
    struct vault_org *org = vault.orgs[0];
    kd_err err = vault_org_former(&vault, kd_slice_str("example.com"), octets, NOW_MS);

    fuzz_require((err == KD_OK) == (org->n_formers == 1));
    fuzz_require(err != KD_OK || (!org->formers[0].is_usable &&
                                  memcmp(org->formers[0].pok, sg_world()->pok.key,
                                         sizeof org->formers[0].pok) == 0));
    free(org->formers);
    org->formers = NULL;
    org->n_formers = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mail_naked_told naked;

    if (vault.n_orgs == 0)
        set_up();
    if (size == 0)
        return 0;
    struct kd_slice octets = kd_slice(data + 1, size - 1);
    fuzz_begin(size);
    switch (data[0] % 5) {
    case 0:
        try_author(octets, -1);
        break;
    case 1:
        try_author_by_descriptor(octets);
        break;
    case 2:
        try_recipient(octets);
        break;
    case 3:
        task.told = octets;
        fuzz_require(mail_told_naked(&task, &naked) != KD_OK ||
                     naked.account.state <= KD_ACCOUNT_CLOSED);
        break;
    default:
        try_former(octets);
    }
    fuzz_end();
    return 0;
}
