/* A vault in this process, for unit tests: configured, with keys of its own, a pool
 * that works at once, and nobody linked. Failures are the test's failures. */
#ifndef KEYD_TESTS_VAULT_WORLD_H
#define KEYD_TESTS_VAULT_WORLD_H

#include "../../keyd/ops/mail_ask.h"
#include "../../keyd/vault/step.h"
#include "../../keyd/vault/vault.h"

/* Domains example.com and, with message-signer = pok, example.org; of class submission
 * and of both domains: uid ANYBODY, who may have any key used, ONLY_SOK and ONLY_POK,
 * who issue. Naked mail may be sealed for example.com, mail to both be opened. */
enum { ANYBODY = 1001, ONLY_SOK, ONLY_POK };

extern struct vault vault;

void vault_world_new(void);
void vault_world_free(void);

/* How often that was said to the supervisor since the call before; all else it was told
 * is forgotten. */
unsigned events_since(enum vault_event event);

/* What the supervisor was asked to do with hosts, likewise. */
size_t wants_since(struct kd_ctl_p11 *out, size_t max);

/* A key of the domain, active. */
struct kd_key_info new_key(const char *domain, enum kd_key_role role,
                           uint8_t permissions);
void set_state(const struct kd_key_info *key, enum kd_key_state state);

/* An organizational signet with them; sok may be NULL. Appended to out. */
void make_org(const char *domain, const struct kd_key_info *pok,
              const struct kd_key_info *sok, const struct kd_key_info *enc,
              struct kd_buf *out);

/* The same as the domain's current one; everything derived anew. Its place. */
size_t set_org(const char *domain, const struct kd_key_info *pok,
               const struct kd_key_info *sok, const struct kd_key_info *enc);

/* A signet of the address, made under the key. Appended to out. */
void make_user(const char *address, unsigned person, const struct kd_key_info *by,
               struct kd_buf *out);

/* A task of that uid's; ends with task_finish(&vault, t, ..). */
struct task *new_task(uint32_t uid, enum kd_op op);

#endif
