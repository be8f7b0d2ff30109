/* How a registry stands against what is known of it elsewhere: the ledger looks, the
 * vault acts on it. */
#ifndef KEYD_LEDGER_STANDING_H
#define KEYD_LEDGER_STANDING_H

/* How a registry stands against what is kept outside of it. */
enum kd_standing {
    KD_STANDS_UNKNOWN,    /* nothing is kept outside */
    KD_STANDS_WELL,       /* what is known outside lies on its log */
    KD_STANDS_BEHIND,     /* it ends before the record that is known outside */
    KD_STANDS_FORKED,     /* another record stands there, or it is another registry */
    KD_STANDS_MISSING,    /* it has records, and there is nothing outside */
    KD_STANDS_UNREADABLE, /* what is outside cannot be read, or is not signed by us */
    KD_STANDS_KEYSTORE,   /* the key store is not of the generation recorded */
    KD_STANDS_COUNT
};

#endif
