/* catalogue.c - the tables of all messages, written by the lists in catalogue*.h. */
#include "proto/catalogue.h"

#define GR_FIELD_str_ GR_FIELD_STR
#define GR_FIELD_u64_ GR_FIELD_U64
#define GR_FIELD_i64_ GR_FIELD_I64
#define GR_FIELD_bool_ GR_FIELD_BOOL
#define GR_FIELD_strs_ GR_FIELD_STRS
#define GR_FIELD_u64s_ GR_FIELD_U64S

/* `this` is a typedef local to each table's function: a field list need not know what struct it is for. */
#define FIELD(kind, field, class, since) {#field, GR_FIELD_##kind##_, offsetof(this, field), GR_CLASS_##class, since, NULL},
#define LIST(record, field, class, since) \
    {#field, GR_FIELD_LIST, offsetof(this, field), GR_CLASS_##class, since, &gr_type_##record},
#define ONE(kind, field, class, since) + 1
#define TABLE(type) \
    static const gr_field *fields_##type(void) \
    { \
        typedef gr_##type this; \
        static const gr_field table[] = {GR_FIELDS_##type(FIELD, LIST){.offset = offsetof(this, end_)}}; \
        return table; \
    }
#define TYPE(number, name, op, text) \
    TABLE(name) \
    const gr_type gr_type_##name = {number, #name, sizeof(gr_##name), fields_##name, \
                                    0 GR_FIELDS_##name(ONE, ONE), op, text};
#define RECORD(name, text) TYPE(0, name, false, text)

GR_RECORDS(RECORD)
GR_MESSAGES(TYPE)

static const gr_type *const all[] = {
#define POINTER(number, name, op, text) &gr_type_##name,
    GR_MESSAGES(POINTER)
};

enum { TYPE_ID_MAX = 1024 };
#define CHECK(number, name, op, text) _Static_assert(number > 0 && number < TYPE_ID_MAX, "message numbers are below 1024");
GR_MESSAGES(CHECK)

/* Numbers must be distinct: two equal ones would be two equal case labels here. */
static const gr_type *by_number(unsigned id)
{
    switch (id) {
#define CASE(number, name, op, text) case number: return &gr_type_##name;
    GR_MESSAGES(CASE)
    default: return NULL;
    }
}

const gr_type *gr_type_find(unsigned id) { return by_number(id); }

const gr_type *gr_type_named(gr_str name)
{
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (gr_str_is(name, all[i]->name)) return all[i];
    return NULL;
}

const gr_type *const *gr_type_all(size_t *count)
{
    *count = sizeof all / sizeof all[0];
    return all;
}
