/* Included by base/compat.h; nothing of it is used by what is proven. */
