/* keydctl ssr lint: a signing request looked at before keyd is. (ssr sign is signet
 * issue.) Needs no daemon. */
#include "keydctl.h"

#include <dime/verify.h>

static int
tell_bad(const struct options *o, json_t *j, const char *why)
{
    complain(o->args[0], why);
    if (!o->json)
        return EX_NEGATIVE;
    if (j == NULL)
        j = json_pack("{s:s}", "type", "unknown");
    if (j != NULL && (!json_put(j, "valid", json_false()) ||
                      !json_put(j, "reason", json_string(why)))) {
        json_decref(j);
        j = NULL;
    }
    return json_finish(j, HOLDS) == HOLDS ? EX_NEGATIVE : EX_UNREADABLE;
}

static int
tell_good(const struct options *o, const struct dime_signet *ssr)
{
    bool custody = dime_signet_signature(ssr, DIME_USER_CUSTODY) != NULL;

    if (o->json) {
        json_t *j = signet_to_json(ssr);
        if (j != NULL && !json_put(j, "custody", json_boolean(custody))) {
            json_decref(j);
            j = NULL;
        }
        return json_finish(j, HOLDS) == HOLDS ? EX_OK : EX_UNREADABLE;
    }
    signet_print(stdout, ssr);
    emit(stdout, "%s\n",
         custody ? "good: continues a chain of custody, which keyd will check"
                 : "good: starts a chain of custody");
    return EX_OK;
}

int
verb_ssr_lint(const struct options *o)
{
    const char *why = NULL;
    struct dime_verdict verdict;
    struct object ssr;
    int status = object_load(&ssr, o->args[0], &why);

    if (status == TROUBLE)
        status = EX_UNREADABLE;
    else if (status == FAILS)
        status = tell_bad(o, NULL, why);
    else if (ssr.signet.kind != DIME_SSR)
        status = tell_bad(o, signet_to_json(&ssr.signet), "not a signing request");
    else if (dime_ssr_verify(&ssr.signet, NULL, &verdict) != KD_OK)
        status =
            tell_bad(o, signet_to_json(&ssr.signet), dime_reason_text(verdict.why));
    else
        status = tell_good(o, &ssr.signet);
    object_free(&ssr);
    return status;
}
