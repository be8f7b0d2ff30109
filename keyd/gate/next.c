#include "next.h"

#include "../role.h"

void
next_drop(struct next *n)
{
    kd_conf_for_gate_clear(&n->conf);
    kd_policy_free(n->watched);
    kd_policy_free(n->shadow);
    *n = (struct next){0};
}

kd_err
next_shadow(struct next *n, int fd)
{
    return kd_role_shadow_read(fd, &n->shadow);
}

kd_err
next_prepare(struct next *n, uint32_t serial, enum kd_class klass, int fd)
{
    struct kd_buf b;
    struct kd_conf_for_gate is = {0};
    kd_err err = kd_role_conf_read(fd, &b);

    if (err == KD_OK)
        err = kd_conf_for_gate_decode(kd_buf_slice(&b), &is);
    if (err == KD_OK && is.klass != klass)
        err = KD_UNSUPPORTED;
    kd_buf_free(&b);
    if (err != KD_OK) {
        kd_conf_for_gate_clear(&is);
        next_drop(n);
        return err;
    }
    kd_conf_for_gate_clear(&n->conf);
    kd_policy_free(n->watched);
    n->conf = is;
    n->serial = serial;
    n->watched = n->shadow;
    n->shadow = NULL;
    n->is_there = true;
    return KD_OK;
}

kd_err
next_take(struct next *n, uint32_t serial, struct kd_conf_for_gate *conf,
          struct kd_policy **watched)
{
    if (!n->is_there || n->serial != serial)
        return KD_MALFORMED;
    kd_conf_for_gate_clear(conf);
    kd_policy_free(*watched);
    *conf = n->conf;
    *watched = n->watched;
    n->conf = (struct kd_conf_for_gate){0};
    n->watched = NULL;
    n->is_there = false;
    return KD_OK;
}

void
next_take_shadow(struct next *n, struct kd_policy **watched)
{
    kd_policy_free(*watched);
    *watched = n->shadow;
    n->shadow = NULL;
}
