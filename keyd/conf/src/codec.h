/* What all parts of role_conf.h are put together from. */
#ifndef KEYD_CONF_SRC_CODEC_H
#define KEYD_CONF_SRC_CODEC_H

#include "keys.h"

#include <keyd/base/cur.h>

enum { KD_PART_GATE = 1, KD_PART_VAULT, KD_PART_LEDGER, KD_PART_P11 };

void kd_part_put_head(struct kd_buf *b, uint8_t role, enum kd_hardening hardening,
                      enum kd_log_level level);
void kd_part_take_head(struct kd_cur *c, uint8_t role, enum kd_hardening *hardening,
                       enum kd_log_level *level);

/* Numbers are held to the ranges of their keys on both ways; 0 is auto. */
uint32_t kd_part_take_u32(struct kd_cur *c, enum kd_conf_section section,
                          const char *key_name);
uint8_t kd_part_take_at_most(struct kd_cur *c, uint8_t most);

/* Behind a u32 length, without NULs; out is all zero and has room for one. */
void kd_part_put_text(struct kd_buf *b, const char *text);
void kd_part_take_text(struct kd_cur *c, char *out, size_t size);

/* The same, absolute or empty. */
void kd_part_take_path(struct kd_cur *c, char *out, size_t size);

/* The vault's tokens (token_conf.c). */
void kd_part_make_tokens(const struct kd_conf *conf, struct kd_conf_for_vault *out);
void kd_part_put_tokens(struct kd_buf *b, const struct kd_conf_for_vault *c);
void kd_part_take_tokens(struct kd_cur *c, struct kd_conf_for_vault *out);

#endif
